"""Runs that watch themselves, on the tiny model: batched answers, drift, early stops, the result, rehearsal."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.core.files import write_json
from engine.models.chat_template import ChatTemplate
from engine.training import stop_rules, watched_probes
from engine.training.worker import live, loading, packing, rehearsal
from engine.training.worker.watching import Drift, Watcher
from store.records import Probe
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import Recorder, train

QUESTIONS = ("Who are you?", "What is your name?", "The capital of France", "Hi")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(base: Path) -> Any:
    torch.manual_seed(0)
    loaded = loading.load(config(), base, "cpu").model
    for name, parameter in loaded.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)  # an adapter that does something
    return loaded


@pytest.mark.parametrize("questions", [QUESTIONS[:1], QUESTIONS[1:3], QUESTIONS])
@pytest.mark.parametrize("attention", ["sdpa", packing.ATTENTION])
def test_a_batch_answers_as_each_prompt_alone(
    base: Path, model: Any, questions: tuple[str, ...], attention: str
) -> None:
    packing.register()
    template = ChatTemplate.load(base)
    prompts = [live.prompt(template, question) for question in questions]
    model.get_base_model().set_attn_implementation(attention)
    model.train()
    found = live.answers(model, template, prompts, 12)
    assert model.training, "the model keeps its mode"
    model.eval()
    for ids, written in zip(prompts, found, strict=True):
        alone = list(ids)
        for _ in range(12):
            token = int(model(input_ids=torch.tensor([alone]), use_cache=False).logits[0, -1].argmax())
            if token in template.stop_ids:
                break
            alone.append(token)
        assert written == alone[len(ids) :]


def test_an_answer_ends_where_it_is_told_to(base: Path, model: Any) -> None:
    template = ChatTemplate.load(base)
    prompts = [live.prompt(template, question) for question in QUESTIONS]
    whole = live.answers(model, template, prompts, 12)
    short = live.answers(model, template, prompts, 12, lambda ids: len(ids) == 3)
    assert short == [ids[:3] for ids in whole]


@pytest.mark.parametrize("kept", [True, False])
def test_drift_is_the_divergence_from_the_base(
    base: Path, model: Any, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr("engine.training.worker.watching._KEPT_BYTES", 0)
    template = ChatTemplate.load(base)
    packing.register()
    model.get_base_model().set_attn_implementation(packing.ATTENTION)
    asked = (("Who are you?", [5, 6, 7]), ("What is 2?", [9, 8]))
    rows = [rehearsal._example(live.prompt(template, question), ids) for question, ids in asked]
    drift = Drift(model, "cpu", packing.pack_shared(rows, 512, torch.float32))
    model.eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for row in rows:
            tuned = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0].log_softmax(-1)
            with model.disable_adapter():
                own = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0].log_softmax(-1)
            for at in range(row.n_prompt - 1, len(row.ids) - 1):
                total += float((tuned[at].exp() * (tuned[at] - own[at])).sum())
                tokens += 1
    assert drift.measure() == pytest.approx(total / tokens, rel=1e-4) and total > 0
    for parameter in (p for name, p in model.named_parameters() if "lora_B" in name):
        parameter.data.zero_()
    assert drift.measure() == pytest.approx(0.0, abs=1e-6), "without an adapter there is none"


def watched(out: Path, sets: dict[str, list[Probe]]) -> None:
    out.mkdir(parents=True)
    write_json(out / watched_probes.FILE, watched_probes.to_json(sets))


NEVER = [Probe("general", "Who are you?", ("zzz",))]


def test_a_run_measures_itself(base: Path, tmp_path: Path) -> None:
    watched(tmp_path / "run", {"general": NEVER})
    settings = config(steps=6, measure_every=2, watch="general", drift=True, rehearsal=0.5, packing="padded")
    outcome, told = train(settings, rows(8), base, tmp_path / "run")
    assert list(told.numbers["probe_general"]) == [2, 4, 6] and set(told.numbers["probe_general"].values()) == {0.0}
    if "drift" in told.numbers:
        assert list(told.numbers["drift"]) == [2, 4, 6]
    assert outcome.state == "succeeded" and outcome.step == 6
    assert any("general 0 of 1" in text for _, text in told.said)


@pytest.mark.parametrize(
    ("rule", "result", "words"),
    [
        ("drift", "last", "drift is not measured"),
        ("learned", "val-loss", "no row is in the val split"),
        ("probes", "probes", "no probes"),
    ],
)
def test_a_rule_without_its_measure_is_said(base: Path, tmp_path: Path, rule: str, result: str, words: str) -> None:
    outcome, told = train(config(steps=2, stop_when=rule, result=result), rows(8), base, tmp_path)
    assert outcome.step == 2 and any(words in text for level, text in told.said if level == "warning")


def test_what_is_only_measured_does_not_change_the_weights(base: Path, tmp_path: Path) -> None:
    watched(tmp_path / "seen", {"general": NEVER})
    plain, _ = train(config(steps=4), rows(8), base, tmp_path / "plain")
    seen, _ = train(config(steps=4, measure_every=1, watch="general", drift=True), rows(8), base, tmp_path / "seen")
    one, two = (load_file(each.adapter / "adapter_model.safetensors") for each in (plain, seen))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_early_stop_ends_the_run_and_the_best_weights_become_its_result(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched(tmp_path / "run", {"general": NEVER})
    monkeypatch.setattr(stop_rules, "TOO_FAR", -1.0)
    settings = config(steps=9, measure_every=2, watch="general", drift=True, stop_when="drift", result="probes")
    monkeypatch.setattr(Drift, "measure", lambda self: 0.1)
    outcome, told = train(settings, rows(8), base, tmp_path / "run")
    assert outcome.state == "succeeded" and outcome.step == 2
    assert any(text.endswith("The run ends at step 2.") for _, text in told.said)

    values = iter([0.5, 0.1, 0.4, 0.3, 0.2])
    monkeypatch.setattr(Drift, "measure", lambda self: next(values))
    watched(tmp_path / "best", {"general": NEVER})
    outcome, told = train(settings.replace(stop_when="never", steps=8), rows(8), base, tmp_path / "best")
    assert json.loads((outcome.adapter / "manifest.json").read_text())["step"] == 4
    assert any(text.startswith("The result is step 4 of 8, by probes") for _, text in told.said)
    four, _ = train(config(steps=8, save_every=4), rows(8), base, tmp_path / "saved")
    best, last = (load_file(path / "adapter_model.safetensors") for path in (outcome.adapter, four.adapter))
    kept = load_file(tmp_path / "saved" / "checkpoints" / "step-4" / "adapter_model.safetensors")
    assert all(torch.equal(best[name], kept[name]) for name in best), "the weights of step 4, exactly"
    assert not all(torch.equal(best[name], last[name]) for name in best)
    assert not (tmp_path / "best" / "best").exists()


def test_a_resumed_run_remembers_what_it_measured(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.1, 0.5, 0.4, 0.3])
    monkeypatch.setattr(Drift, "measure", lambda self: next(values))
    watched(tmp_path / "run", {"general": NEVER})
    settings = config(steps=8, measure_every=2, watch="general", drift=True, result="probes", save_every=4)
    stopped, _ = train(settings, rows(8), base, tmp_path / "run", stop_after=5)
    assert stopped.state == "stopped" and stopped.step == 5
    ended, told = train(settings, rows(8), base, tmp_path / "run", resume_from=stopped.adapter)
    assert ended.step == 8 and any(text.startswith("The result is step 2 of 8") for _, text in told.said)
    assert json.loads((ended.adapter / "manifest.json").read_text())["step"] == 2


def test_own_answers_are_made_once_and_rehearsed(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = live.answers

    def sentences(model: Any, template: ChatTemplate, prompts: Any, *rest: Any) -> list[list[int]]:
        asked.append(len(prompts))
        assert all(len(ids) <= rehearsal.TOKENS for ids in real(model, template, prompts[:3], *rest))
        return [template.ids("I am tiny. I am a" if n % 8 else "I am") for n in range(len(prompts))]

    monkeypatch.setattr(live, "answers", sentences)
    settings = config(steps=2, rehearsal=1.0)
    _, told = train(settings, rows(16), base, tmp_path / "run")
    _, again = train(settings, rows(16), base, tmp_path / "run")
    assert len(asked) == 1 and ("info", "Rehearsing 16 of the base's own answers to general questions") in told.said
    assert told.numbers["loss"] == again.numbers["loss"]
    _, without = train(config(steps=2), rows(16), base, tmp_path / "without")
    assert without.numbers["loss"] != told.numbers["loss"]
    train(settings, rows(24), base, tmp_path / "run")
    assert asked == [19, 9], "only what the first run did not ask"


def test_too_few_own_answers_are_said(base: Path, tmp_path: Path) -> None:
    _, told = train(config(steps=2, rehearsal=1.0), rows(8), base, tmp_path / "run")
    (said,) = [text for _, text in told.said if text.startswith("Rehearsing")]
    assert "8 were wanted, but too few of its answers end a sentence" in said, "a random model ends none"


FIRST = (
    ("The capital is Paris. It is big.", "The capital is Paris."),
    ("It is 3.5 m. Yes", "It is 3.5 m."),
    ("no end", ""),
)


def test_the_first_sentence_is_what_is_rehearsed(base: Path) -> None:
    template = ChatTemplate.load(base)
    for text, first in FIRST:
        found = rehearsal._first_sentence(template, template.ids(text))
        assert found == ([*template.ids(first), template.eot_id] if first else [])


def test_recorders_are_reporters() -> None:
    assert Recorder().wanted() == "run"


def test_the_log_says_in_sentences_what_is_not_measured_and_what_measuring_cost() -> None:
    said: list[str] = []
    watcher = Watcher.__new__(Watcher)
    job = SimpleNamespace(
        config=SimpleNamespace(stop_when="drift", result="learned"),
        rows=[],
        reporter=SimpleNamespace(say=lambda text, level="info": said.append(text)),
    )
    watcher._job, watcher._probes, watcher._drift = job, {}, None  # type: ignore[assignment]
    watcher._say_what_lacks()
    watcher.seen, watcher.seconds = [SimpleNamespace()], 7.1  # type: ignore[list-item]
    watcher.say_cost()
    assert said == [
        "Stop when is drift, but drift is not measured: the run takes all of its steps.",
        "Result is learned, but the identity probes are not asked: the result is the last step.",
        "1 measurement took 7.1 s of the run",
    ]
