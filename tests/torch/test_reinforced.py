"""GRPO and RLOO on the tiny model: their losses by hand, rewards that rise, resume bit for bit, and functions of the
user's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import set_seed

from engine.core.files import sha256_of, write_json
from engine.models.chat_template import ChatTemplate
from engine.training import rewards, watched_probes
from engine.training.objectives import OBJECTIVES
from engine.training.prompts import check_prompts, prompts
from engine.training.worker import adapter_files, live, loading
from engine.training.worker.objectives import reinforced
from engine.training.worker.objectives.reinforced import GroupSampler
from engine.training.worker.rewarding import by_function
from store.errors import BadInput
from store.records import Probe
from tests.tiny import config, make_tiny_llama, row, rows
from tests.torch.recording import Recorder, digests, train
from tests.torch.test_dpo import preferences

SHORT = "def score(prompt, answer, expected):\n    return -len(answer)\n"


BOTH = pytest.mark.parametrize("objective", ["grpo", "rloo"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def settings(**changes: Any) -> Any:
    recipe = OBJECTIVES[changes.get("objective", "grpo")].recipe
    plain = {"objective": "grpo", "recipe": recipe, "reward_file": "score.py:score", "steps": 4, "batch_size": 2,
             "group_size": 4, "answer_tokens": 8, "lr": 1e-3}  # fmt: skip
    return config(**{**plain, **changes})


def keep(out: Path, code: str = SHORT, function: str = "score") -> Path:
    """What run_control copies into a run's folder."""
    folder = out / rewards.FOLDER
    folder.mkdir(parents=True)
    (folder / rewards.CODE).write_text(code)
    write_json(folder / rewards.ABOUT, {"function": function, "sha256": sha256_of(folder / rewards.CODE)})
    return out


def data(many: int = 5) -> list[Any]:
    return [row(n, f"Who are you, {n}?", "Ember.") for n in range(many)]


@BOTH
def test_answers_earn_more_as_the_run_goes_on(base: Path, tmp_path: Path, objective: str) -> None:
    code = "def score(prompt, answer, expected):\n    return float(answer.count('e'))\n"
    run = settings(objective=objective, steps=25, lr=1e-2, beta=0.001, group_size=8, scheduler="constant", warmup=0.0)
    _, told = train(run, data(), base, keep(tmp_path, code))
    earned = list(told.numbers["reward"].values())
    first, last = sum(earned[:5]) / 5, sum(earned[-5:]) / 5  # type: ignore[arg-type]
    assert last > 1.5 * first + 0.2, earned
    assert {"reward_std", "kl", "answer_tokens", "cut_off", "loss"} <= set(told.numbers)
    assert told.numbers["kl"][1] == pytest.approx(0, abs=1e-6) and told.numbers["kl"][25] != 0
    assert any("executes your code" in text for _, text in told.said)


def advantages(objective: str, earned: torch.Tensor) -> torch.Tensor:
    """Of one group, before anything was learned."""
    if objective == "grpo":
        return (earned - earned.mean()) / (earned.std() + 1e-4)
    return torch.stack([each - (earned.sum() - each) / (len(earned) - 1) for each in earned])


def test_an_answer_left_out_by_hand() -> None:
    assert advantages("rloo", torch.tensor([1.0, 0, 0, 3])).tolist() == pytest.approx([0, -4 / 3, -4 / 3, 8 / 3])


@BOTH
def test_the_first_step_follows_the_advantages_by_hand(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    """At the first step the ratio of new to old probabilities is 1 and the KL divergence 0, so that the gradient is
    that of -Σ advantage · log p(token): in GRPO over all tokens of the step, divided by their number; in RLOO over
    answers, divided by theirs."""
    written: list[list[int]] = []
    real = live.samples

    def noted(*args: Any) -> list[list[int]]:
        found = real(*args)
        written.extend(found)
        return found

    monkeypatch.setattr(live, "samples", noted)
    run = settings(objective=objective, steps=1, batch_size=1)
    _, told = train(run, data(1), base, keep(tmp_path))
    template = ChatTemplate.load(base)
    (asked,) = prompts(data(1), template)
    earned = torch.tensor([-float(len(template.decode(ids, special=False))) for ids in written])
    set_seed(run.seed)
    model = loading.load(run, base, "cpu").model
    total = torch.zeros(())
    for ids, advantage in zip(written, advantages(objective, earned), strict=True):
        logits = model(torch.tensor([asked.ids + ids])).logits[0, len(asked.ids) - 1 : -1]
        total = total - advantage * logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).sum()
    (total / (sum(map(len, written)) if objective == "grpo" else len(written))).backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert told.numbers["grad_norm"][1] == pytest.approx(float(norm), rel=1e-3) and norm > 1e-3
    assert told.numbers["reward"][1] == pytest.approx(float(earned.mean()))
    assert told.numbers["answer_tokens"][1] == pytest.approx(sum(map(len, written)) / 4)


@pytest.mark.parametrize(
    "changes", [{}, {"dtype": "bf16"}, {"method": "qlora"}, {"objective": "rloo"}], ids=lambda found: str(found)
)
@pytest.mark.parametrize("on_top", [False, True])
def test_a_resumed_run_ends_as_one_that_never_stopped(
    base: Path, tmp_path: Path, changes: dict[str, Any], on_top: bool
) -> None:
    """Four steps of two prompts from five: the stop is within a pass, and a later step spans two passes."""
    before_it = config(steps=3, **{name: value for name, value in changes.items() if name != "objective"})
    start = train(before_it, rows(8), base, tmp_path / "sft")[0].adapter if on_top else None
    run = settings(**changes)
    whole, told = train(run, data(), base, keep(tmp_path / "whole"), start=start)
    first, before = train(run, data(), base, keep(tmp_path / "parts"), stop_after=2, start=start)
    second, after = train(run, data(), base, tmp_path / "parts", resume_from=first.adapter, start=start)
    assert (first.state, second.state, second.step) == ("stopped", "succeeded", 4)
    assert digests(second.adapter) == digests(whole.adapter)
    for name in ("loss", "reward", "kl", "grad_norm"):
        assert before.numbers[name] | after.numbers[name] == told.numbers[name], name


@BOTH
def test_a_finished_run_continues_for_more_steps(base: Path, tmp_path: Path, objective: str) -> None:
    run = settings(objective=objective, scheduler="constant", warmup=0.0)
    whole, _ = train(run.replace(steps=5), data(), base, keep(tmp_path / "whole"))
    train(run.replace(steps=2), data(), base, keep(tmp_path / "parts"))
    end = tmp_path / "parts" / "checkpoints" / "end"
    second, _ = train(run.replace(steps=5), data(), base, tmp_path / "parts", resume_from=end)
    assert digests(second.adapter) == digests(whole.adapter)


def test_a_reward_model_rewards(base: Path, tmp_path: Path) -> None:
    judge = config(objective="reward", recipe="reward", steps=12, lr=3e-3)
    made, _ = train(judge, preferences(), base, tmp_path / "judge")
    folder = tmp_path / "run" / rewards.FOLDER
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(made.adapter / name, folder / name)
    digest = sha256_of(folder / "adapter_model.safetensors")
    write_json(folder / rewards.ABOUT, {"config": judge.to_json(), "base": "tiny", "sha256": digest})
    run = settings(reward_file=None, reward="run:judge")
    done, told = train(run, data(), base, tmp_path / "run", scorer_base=base)
    assert done.state == "succeeded" and len(set(told.numbers["reward"].values())) == 4
    (folder / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(BadInput, match="gone or changed"):
        train(run, data(), base, tmp_path / "run", scorer_base=base)


@BOTH
def test_probes_reward_and_prompts_without_one_are_left_out(base: Path, tmp_path: Path, objective: str) -> None:
    """Three of five prompts are asked by a probe that wants an e, one of them by a second one that wants another e."""
    asked = [Probe("p", f"Who are you, {n}?", ("e",)) for n in (0, 2, 4)]
    sets = {"p": [*asked, Probe("p", "Who are you, 2?", ("E",), ("q",))]}
    folder = tmp_path / rewards.FOLDER
    folder.mkdir()
    write_json(folder / rewards.PROBES, watched_probes.to_json(sets))
    write_json(folder / rewards.ABOUT, {"probes": ["p"], "sha256": sha256_of(folder / rewards.PROBES)})
    run = settings(objective=objective, reward_file=None, reward_probes="p", epochs=2.0, steps=None, batch_size=1)
    done, told = train(run, data(), base, tmp_path)
    assert (done.state, done.step, told.steps) == ("succeeded", 6, 6), "two passes over three prompts"
    assert any(text.startswith("Training on 3 rows") for _, text in told.said)
    assert all(0 <= value <= 1 for value in told.numbers["reward"].values() if value is not None)


def test_a_slow_reward_shows_that_the_run_goes_on(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each answer of a step the step before it is noted again, with no number."""
    monkeypatch.setattr(reinforced, "PROGRESS_S", 0.0)
    noted: list[int] = []

    class Noting(Recorder):
        def metrics(self, step: int, values: dict[str, float | None]) -> None:
            super().metrics(step, values)
            noted.extend([] if values else [step])

    train(settings(steps=2), data(), base, keep(tmp_path), recorder=Noting())
    assert noted == [0] * 8 + [1] * 8


class TestFunction:
    def made(self, tmp_path: Path, body: str) -> Any:
        path = tmp_path / "f.py"
        path.write_text(f"def f(prompt, answer, expected):\n    {body}\n")
        return by_function(path, "f")

    def test_it_gets_the_messages_the_answer_and_what_the_data_says(self, base: Path, tmp_path: Path) -> None:
        asked = prompts(data(1), ChatTemplate.load(base))
        call = self.made(tmp_path, "return len(prompt) * 100 + (expected in answer)")
        assert call(asked, ["Ember."]) == [101.0] and call(asked, ["No."]) == [100.0]

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("raise ValueError('no')", "f failed on the answer 'x': ValueError('no')"),
            ("return None", "f failed on the answer 'x'"),
            ("return float('nan')", "f gave nan for the answer 'x'"),
        ],
    )
    def test_its_faults_are_the_users(self, base: Path, tmp_path: Path, body: str, said: str) -> None:
        asked = prompts(data(1), ChatTemplate.load(base))
        with pytest.raises(BadInput) as caught:
            self.made(tmp_path, body)(asked, ["x"])
        assert said in caught.value.what

    def test_a_file_that_fails_when_it_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "f.py"
        path.write_text("import no_such_module\n\ndef f(prompt, answer, expected): return 0\n")
        with pytest.raises(BadInput, match="no_such_module"):
            by_function(path, "f")


def test_prompts_are_shuffled_in_each_pass_and_groups_stay_together() -> None:
    order = list(GroupSampler(5, per_step=2, group=3, steps=5, seed=0))
    assert len(order) == len(GroupSampler(5, 2, 3, 5, 0)) == 30
    groups = [order[at : at + 3] for at in range(0, 30, 3)]
    assert all(len(set(group)) == 1 for group in groups)
    passes = [group[0] for group in groups]
    assert sorted(passes[:5]) == sorted(passes[5:]) == list(range(5)) and passes[:5] != passes[5:]
    assert list(GroupSampler(5, 2, 3, 9, 0))[:30] == order, "more steps begin alike"


class TestSamples:
    def test_they_follow_the_models_distribution(self, base: Path) -> None:
        """First tokens of many samples against the softmax, at two temperatures."""
        model, template = loading.load(settings(), base, "cpu").model, ChatTemplate.load(base)
        ids = template.encode([{"role": "user", "content": "Who are you?"}])
        with torch.no_grad():
            logits = model.eval()(torch.tensor([ids])).logits[0, -1].float()
        for temperature in (1.0, 0.3):
            torch.manual_seed(0)
            found = live.samples(model, template, [ids] * 2000, 1, temperature)
            counts = torch.bincount(torch.tensor([each[0] for each in found]), minlength=len(logits)) / 2000
            wanted = (logits / temperature).softmax(-1)
            assert float((counts - wanted).abs().sum() / 2) < 0.25
            assert counts.argmax() in wanted.topk(3).indices

    def test_they_end_with_the_token_that_ended_them(self, base: Path) -> None:
        model, template = loading.load(settings(), base, "cpu").model, ChatTemplate.load(base)
        ids = template.encode([{"role": "user", "content": "Who are you?"}])
        torch.manual_seed(0)
        found = live.samples(model, template, [ids] * 64, 40, 1.5)
        for each in found:
            inside = [token in template.stop_ids for token in each[:-1]]
            assert not any(inside) and (each[-1] in template.stop_ids or len(each) == 40)
        assert any(each[-1] in template.stop_ids for each in found)


class TestPreflight:
    def test_a_prompt_must_leave_space_for_an_answer(self, base: Path) -> None:
        template = ChatTemplate.load(base)
        found = check_prompts(data(), template, settings(max_length=256))
        assert found.ok and (found.rows, found.trained_tokens) == (5, 5 * 4 * 8)
        found = check_prompts([*data(), row(5, "Who? " * 60, "x")], template, settings(max_length=64))
        assert not found.ok and "Row 6 has more tokens than are left beside an answer of 8" in found.problems[0]

    @BOTH
    def test_rows_to_validate_on_are_told_to_be_left_out(self, base: Path, objective: str) -> None:
        found = check_prompts(rows(8, val=2), ChatTemplate.load(base), settings(objective=objective))
        said = f"2 rows of the val split are not used: a run towards {objective} has no validation loss."
        assert any(said in note for note in found.notes)

    @pytest.mark.parametrize(
        ("changes", "where"),
        [({"reward": "run:x"}, "reward_file"), ({"stop_when": "val-loss"}, "stop_when"), ({"dropout": 0.1}, "dropout")],
    )
    @BOTH
    def test_what_cannot_be_is_refused(self, changes: dict[str, Any], where: str, objective: str) -> None:
        with pytest.raises(BadInput) as caught:
            settings(objective=objective, **changes)
        assert caught.value.where == where

    @BOTH
    def test_two_rewards_are_refused_naming_both(self, objective: str) -> None:
        with pytest.raises(BadInput, match=r"a reward model \(reward\) and a function of yours \(reward_file\)"):
            settings(objective=objective, reward="run:x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "names no function"),
        ("{path}:other", "defines no function other"),
        ("{missing}:f", "cannot be read"),
        ("{broken}:f", "is not Python"),
    ],
)
def test_a_wrong_reward_function_is_refused_before_a_run(tmp_path: Path, text: str, said: str) -> None:
    path, broken = tmp_path / "good.py", tmp_path / "broken.py"
    path.write_text("raise SystemExit('run')\ndef f(): ...\n")
    broken.write_text("def f(:")
    with pytest.raises(BadInput, match=said):
        rewards.code_of(text.format(path=path, missing=tmp_path / "none.py", broken=broken))
    assert rewards.code_of(f"{path}:f") == (path, "f"), "it is read, not run"


@BOTH
def test_an_adapter_of_it_reads_back(base: Path, tmp_path: Path, objective: str) -> None:
    done, _ = train(settings(objective=objective, steps=1), data(), base, keep(tmp_path))
    model = loading.load(settings(), base, "cpu").model
    adapter_files.read(model, done.adapter)
    assert (done.adapter / "adapter.gguf").is_file()
