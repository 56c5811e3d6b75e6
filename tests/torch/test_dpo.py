"""DPO on the tiny model: its loss by hand, what training does to the margin, resume bit for bit, what is measured."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from engine.core.files import write_json
from engine.models.chat_template import MASKED, ChatTemplate, Example
from engine.training import watched_probes
from engine.training.judged import Contrast, contrasts
from engine.training.objectives.dpo import LOSSES
from engine.training.worker import adapter_files, loading
from store.records import Probe, SnapshotRow
from tests.judged import preference
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import digests, train

KEPT = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def preferences(many: int = 8, val: int = 0) -> list[SnapshotRow]:
    """The chosen answers name Ember, the rejected ones do not; lengths differ."""
    return [
        preference(
            n, f"Who are you, number {n}?", f"I am Ember{' indeed' * (n % 3)}.", f"Nobody{' at all' * (n % 2)}.",
            split="val" if n >= many - val else "train",
        )
        for n in range(many)
    ]  # fmt: skip


def settings(**changes: Any) -> Any:
    return config(**{"objective": "dpo", "recipe": "preference", "steps": 5, "lr": 1e-3, **changes})


def log_probability(model: Any, example: Example) -> float:
    """The summed log-probability of an answer's tokens, written out plainly."""
    with torch.no_grad():
        logits = model(torch.tensor([example.ids])).logits[0].double()
    targets = torch.tensor(example.labels[1:])
    trained = targets != MASKED
    chosen = logits[:-1].log_softmax(-1)[trained].gather(1, targets[trained][:, None])
    return float(chosen.sum())


def margin(model: Any, pair: Contrast) -> float:
    return log_probability(model, pair.chosen) - log_probability(model, pair.rejected)


def tuned(base: Path, adapter: Path, **changes: Any) -> Any:
    model = loading.load(settings(**changes), base, "cpu").model
    adapter_files.read(model, adapter)
    return model.eval()


BY_HAND = {
    "sigmoid": lambda x, beta: -math.log(1 / (1 + math.exp(-beta * x))),
    "hinge": lambda x, beta: max(0.0, 1 - beta * x),
}


class TestLoss:
    def test_the_first_step_is_log_2_and_its_margin_0(self, base: Path, tmp_path: Path) -> None:
        _, told = train(settings(steps=1), preferences(), base, tmp_path)
        assert told.numbers["loss"][1] == pytest.approx(math.log(2), abs=1e-6)
        assert told.numbers["margin"][1] == 0 and told.numbers["accuracy"][1] == 0

    @pytest.mark.parametrize("loss", BY_HAND)
    @pytest.mark.parametrize("beta", [0.1, 0.7])
    def test_it_equals_a_hand_computation(self, base: Path, tmp_path: Path, loss: str, beta: float) -> None:
        """One preference, two steps: the loss that step 2 reports is that of the weights after step 1."""
        data = preferences(1)
        run = settings(steps=2, beta=beta, dpo_loss=loss, scheduler="constant", warmup=0.0, save_every=1)
        _, told = train(run, data, base, tmp_path)
        (pair,) = contrasts(data, ChatTemplate.load(base), run)["train"].values()
        after = tuned(base, tmp_path / "checkpoints" / "step-1")
        with after.disable_adapter():
            before = margin(after, pair)
        gained = margin(after, pair) - before
        assert gained > 0.01, "the step did something to compare"
        assert told.numbers["loss"][2] == pytest.approx(BY_HAND[loss](gained, beta), abs=1e-5)
        assert told.numbers["margin"][2] == pytest.approx(beta * gained, abs=1e-5)
        assert told.numbers["accuracy"][2] == 1

    def test_ipo_and_apo_zero_are_losses_of_their_own(self, base: Path, tmp_path: Path) -> None:
        ends = {
            loss: digests(train(settings(dpo_loss=loss, steps=2), preferences(), base, tmp_path / loss)[0].adapter)[
                KEPT
            ]
            for loss in LOSSES
        }
        assert len(set(ends.values())) == len(LOSSES) == 4


def test_training_raises_the_margin_of_every_preference(base: Path, tmp_path: Path) -> None:
    data = preferences(8, val=2)
    done, told = train(settings(steps=12), data, base, tmp_path)
    assert done.state == "succeeded"
    model = tuned(base, done.adapter)
    both = contrasts(data, ChatTemplate.load(base), settings())
    for pair in (*both["train"].values(), *both["val"].values()):
        after = margin(model, pair)
        with model.disable_adapter():
            assert after > margin(model, pair)
    assert told.numbers["loss"][12] < told.numbers["loss"][1]  # type: ignore[operator]
    assert told.numbers["accuracy"][12] == 1 and told.numbers["margin"][12] > 0  # type: ignore[operator]
    assert set(told.numbers["val_loss"]) == set(told.numbers["val_margin"]) == set(told.numbers["val_accuracy"])
    last = told.numbers["val_margin"][12]
    by_hand = [margin(model, pair) for pair in both["val"].values()]
    with model.disable_adapter():
        by_hand = [one - margin(model, pair) for one, pair in zip(by_hand, both["val"].values(), strict=True)]
    assert last == pytest.approx(0.1 * sum(by_hand) / len(by_hand), abs=1e-4)


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bf16": {"dtype": "bf16"},
    "qlora": {"method": "qlora"},
    "cosine": {"scheduler": "cosine", "weight_decay": 0.1, "dpo_loss": "ipo"},
}


class TestResume:
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_a_resumed_run_ends_as_one_that_never_stopped(self, base: Path, tmp_path: Path, variant: str) -> None:
        run, data = settings(**VARIANTS[variant]), preferences(10, val=2)
        whole, told = train(run, data, base, tmp_path / "whole")
        first, before = train(run, data, base, tmp_path / "parts", stop_after=2)
        assert (first.state, first.step, before.saved) == ("stopped", 2, [2])
        second, after = train(run, data, base, tmp_path / "parts", resume_from=first.adapter)
        assert (second.state, second.step) == ("succeeded", 5)
        assert digests(second.adapter) == digests(whole.adapter)
        for name in ("loss", "margin", "grad_norm", "lr", "val_loss", "val_margin"):
            assert before.numbers[name] | after.numbers[name] == told.numbers[name], name

    def test_a_finished_run_continues_for_more_steps(self, base: Path, tmp_path: Path) -> None:
        run = settings(scheduler="constant", warmup=0.0)
        whole, _ = train(run.replace(steps=5), preferences(), base, tmp_path / "whole")
        train(run.replace(steps=2), preferences(), base, tmp_path / "parts")
        end = tmp_path / "parts" / "checkpoints" / "end"
        second, _ = train(run.replace(steps=5), preferences(), base, tmp_path / "parts", resume_from=end)
        assert digests(second.adapter) == digests(whole.adapter)

    def test_other_rejected_answers_are_other_data(self, base: Path, tmp_path: Path) -> None:
        data = preferences()
        first, _ = train(settings(), data, base, tmp_path, stop_after=2)
        other = [preference(0, "Who are you, number 0?", "I am Ember.", "No one."), *data[1:]]
        with pytest.raises(Exception, match="with other data"):
            train(settings(), other, base, tmp_path, resume_from=first.adapter)


class TestOnTop:
    """A run that continues an earlier adapter: its reference is that adapter, not the base."""

    @pytest.fixture(scope="class")
    def earlier(self, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return train(config(steps=6), rows(8), base, tmp_path_factory.mktemp("sft"))[0].adapter

    def test_the_reference_is_the_earlier_run(self, base: Path, tmp_path: Path, earlier: Path) -> None:
        done, told = train(settings(steps=8), preferences(), base, tmp_path, start=earlier)
        assert told.numbers["loss"][1] == pytest.approx(math.log(2), abs=1e-6) and told.numbers["margin"][1] == 0
        (pair,) = contrasts(preferences(1), ChatTemplate.load(base), settings())["train"].values()
        before, after = tuned(base, earlier), tuned(base, done.adapter)
        assert margin(after, pair) > margin(before, pair)
        gained = margin(after, pair) - margin(before, pair)
        assert told.numbers["margin"][8] == pytest.approx(0.1 * gained, rel=0.5), "margins count from the earlier run"

    @pytest.mark.parametrize("dtype", ["fp32", "bf16"])
    def test_it_resumes_with_the_same_reference(self, base: Path, tmp_path: Path, earlier: Path, dtype: str) -> None:
        run = settings(dtype=dtype)
        whole, told = train(run, preferences(), base, tmp_path / "whole", start=earlier)
        first, _ = train(run, preferences(), base, tmp_path / "parts", stop_after=3, start=earlier)
        second, after = train(run, preferences(), base, tmp_path / "parts", resume_from=first.adapter, start=earlier)
        assert digests(second.adapter) == digests(whole.adapter)
        assert after.numbers["margin"].items() <= told.numbers["margin"].items()
        assert sorted(path.name for path in whole.adapter.iterdir() if path.is_dir()) == [], "no copy of the reference"

    def test_sft_continues_an_adapter_too(self, base: Path, tmp_path: Path, earlier: Path) -> None:
        _, told = train(config(steps=6), rows(8), base, tmp_path / "one")
        _, on_top = train(config(steps=6), rows(8), base, tmp_path / "two", start=earlier)
        assert on_top.numbers["loss"][1] < told.numbers["loss"][1]  # type: ignore[operator]


def test_it_watches_itself_as_sft_does(base: Path, tmp_path: Path) -> None:
    probe = Probe(set="mine", question="Who are you?", must=("Ember",))
    tmp_path.mkdir(exist_ok=True)
    write_json(tmp_path / watched_probes.FILE, watched_probes.to_json({"mine": [probe]}))
    run = settings(watch="mine", drift=True, measure_every=2, steps=4, result="probes")
    _, told = train(run, preferences(), base, tmp_path)
    assert set(told.numbers["drift"]) == set(told.numbers["probe_mine"]) == {2, 4}
    assert told.numbers["drift"][4] > 0  # type: ignore[operator]


def test_rows_of_test_are_left_alone(base: Path, tmp_path: Path) -> None:
    data = preferences()
    plain, _ = train(settings(steps=2), data, base, tmp_path / "one")
    more = [*data, replace(preference(8, "Who?", "Ember.", "No."), split="test")]
    with_test, _ = train(settings(steps=2), more, base, tmp_path / "two")
    assert digests(plain.adapter)[KEPT] == digests(with_test.adapter)[KEPT]


def test_the_sigmoid_is_torchs() -> None:
    """A control of this file's own arithmetic."""
    assert BY_HAND["sigmoid"](1.5, 0.1) == pytest.approx(-functional.logsigmoid(torch.tensor(0.15)).item())


def test_saving_memory_by_computing_activations_twice_changes_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plain, _ = train(settings(steps=2), preferences(), base, tmp_path / "plain")
    monkeypatch.setattr(loading, "needs_checkpointing", lambda loaded, config, tokens: asked.append(tokens) or True)
    frugal, _ = train(settings(steps=2), preferences(), base, tmp_path / "frugal")
    made = contrasts(preferences(), ChatTemplate.load(base), settings())["train"].values()
    longest = max(len(row.chosen.ids) for row in made)
    assert asked == [2 * 4 * longest], "a pass has both answers of each of its four rows"
    assert digests(plain.adapter)[KEPT] == digests(frugal.adapter)[KEPT]
