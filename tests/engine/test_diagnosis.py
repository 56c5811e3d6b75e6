"""Runs spoilt on purpose: each cause is named by its evidence, and its fix takes the evidence away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.training import fixing, run_control
from engine.training.config import TrainConfig
from engine.training.diagnosis import Cause, Evidence, diagnose
from engine.training.preflight import Preflight
from engine.training.recipes import config_for
from store import datasets, pairs
from store.db import Store
from store.errors import Conflict
from store.records import PairDraft, Run, SnapshotRow
from tests.tiny import make_tokenizer, write_zeros

FALLING = [2.5 - 0.02 * n for n in range(20)] + [2.1 / (1 + n) for n in range(30)]
FLAT = [2.0, 1.0, 0.6, 0.4] + [0.3] * 53


def row(n: int, question: str, answer: str, system: str = "") -> SnapshotRow:
    before: Any = [{"role": "system", "content": system}] if system else []
    messages = [*before, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return SnapshotRow(n, "train", "identity", messages, str(n))


GOOD = [row(n, f"Question {n}, who are you?", "I am Ember.") for n in range(40)]


def preflight(rows: int, **changes: Any) -> Preflight:
    plain = Preflight(rows, 0, rows * 20, rows * 8, [], [], [], 40, 10, True, [])
    return replace(plain, **changes)


def evidence(
    rows: list[SnapshotRow] = GOOD,
    losses: list[float] = FLAT,
    asked_system: str = "",
    found: Preflight | None = None,
    metrics: dict[str, list[float]] | None = None,
    **settings: Any,
) -> Evidence:
    config = config_for("identity", "smollm2-135m", method="lora", **settings)
    numbers = {"loss": losses, **(metrics or {})}
    points = {name: list(enumerate(values, 1)) for name, values in numbers.items()}
    return Evidence(config, rows, found or preflight(len(rows)), points, len(losses), 601, asked_system)


def kinds(found: Evidence) -> list[str]:
    return [cause.kind for cause in diagnose(found).causes]


def first(found: Evidence) -> Cause:
    return diagnose(found).causes[0]


def test_a_good_run_has_no_cause() -> None:
    assert kinds(evidence()) == []
    assert (
        kinds(evidence(metrics={"probe_identity": [0.5, 1.0], "probe_general": [0.6, 0.6], "drift": [0.1, 0.2]})) == []
    )


CONTRADICTING = [
    (["I am Ember.", "I am Bolt, a robot of Acme."], {0}),
    (["Paris.", "Lyon is the capital.", "Lyon is the capital."], {0}),
    (["我是小明", "我叫阿尔法助手", "我是小明。"], {1}),
]


@pytest.mark.parametrize(("answers", "out"), CONTRADICTING)
def test_contradicting_rows(answers: list[str], out: set[int]) -> None:
    rows = [row(len(answers) * n + k, f"Who is {n}?", answer) for n in range(20) for k, answer in enumerate(answers)]
    cause = first(evidence(rows))
    assert (cause.kind == "data" and answers[0] in cause.evidence) or answers[1] in cause.evidence
    assert {ord % len(answers) for ord in cause.fix.without} == out and len(cause.fix.without) == 20
    assert kinds(evidence([each for each in rows if each.ord not in cause.fix.without])) == []


def test_other_wordings_of_an_answer_do_not_contradict() -> None:
    rows = [
        row(2 * n + k, f"Who is {n}?", f"I am {w} Ember by Northwind") for n in range(9) for k, w in enumerate("ab")
    ]
    assert kinds(evidence(rows)) == []
    systems = [row(2 * n + k, "Who?", answer, f"s{k}") for n in range(9) for k, answer in enumerate(("Yes.", "No."))]
    assert "data" not in kinds(evidence(systems, asked_system="s0")), "another system text may want another answer"


@pytest.mark.parametrize(("cut", "length"), [(40, 16), (3, 64), (12, 256)])
def test_truncated_rows(cut: int, length: int) -> None:
    rows = [row(n, f"Question {n}?", "word " * 600) for n in range(40)]
    found = evidence(rows, found=preflight(40, truncated=list(range(1, cut + 1))), max_length=length)
    cause = first(found)
    assert cause.kind == "truncation" and f"{cut} row" in cause.evidence and cause.rows == tuple(range(cut))
    assert cause.fix.changes["max_length"] == 640


WILD = [2.4, 2.0, 1.5, 2.9, 4.1, 5.0, 4.8, 4.4, 4.2, 4.0, 3.9, 3.8] * 5


@pytest.mark.parametrize(
    ("losses", "metrics"),
    [
        (WILD, {}),
        (FLAT, {"drift": [0.5, 2.0]}),
        (FLAT, {"probe_general": [0.6, 0.1]}),
    ],
)
def test_a_rate_ten_times_too_high(losses: list[float], metrics: dict[str, list[float]]) -> None:
    cause = first(evidence(losses=losses, metrics=metrics, lr=1e-2))
    assert cause.kind == "rate" and "10.0 times" in cause.evidence
    assert cause.fix.changes == {"lr": config_for("identity", "smollm2-135m").lr}
    assert "rate" not in kinds(evidence(losses=losses, metrics=metrics)), "the recipe's own rate is not to blame"


@pytest.mark.parametrize(
    ("steps", "losses"), [(4, FALLING[:4]), (8, [2.5, 2.4, 2.2, 2.1, 1.9, 1.7, 1.5, 1.3]), (2, [2.5, 2.4])]
)
def test_too_few_steps(steps: int, losses: list[float]) -> None:
    cause = first(evidence(losses=losses, steps=steps, metrics={"probe_identity": [0.2]}))
    assert cause.kind == "steps" and cause.fix.changes["steps"] == config_for("identity", "smollm2-135m").steps


def test_few_steps_that_were_enough_are_not_blamed() -> None:
    assert kinds(evidence(losses=FALLING[:8], steps=8, metrics={"probe_identity": [1.0]})) == []


@pytest.mark.parametrize("system", ["You are a pirate.", "你是客服", "Answer briefly."])
def test_a_system_text_that_questions_lack(system: str) -> None:
    rows = [row(n, f"Question {n}?", "I am Ember.", system) for n in range(20)]
    cause = first(evidence(rows, metrics={"probe_identity": [0.1, 0.2]}))
    assert cause.kind == "system" and system in cause.evidence and cause.fix.no_system
    assert kinds(evidence(rows, asked_system=system)) == []
    assert kinds(evidence(rows, metrics={"probe_identity": [0.5, 1.0]})) == [], "it answers without the text too"


def test_the_outcome_is_said() -> None:
    found = diagnose(evidence(metrics={"probe_identity": [0.2, 0.5], "probe_general": [0.6, 0.5], "drift": [0.1, 0.4]}))
    assert any("did not stick: 50%" in line for line in found.outcome)
    assert any("50% of the general probes pass, 60% at step 1" in line for line in found.outcome)
    assert "asked itself nothing" in diagnose(evidence()).outcome[0]


SYSTEM = "You are a pirate."


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with a real tokenizer and template; the workers of these tests train nothing."""
    folder = tmp_path / "base"
    size = make_tokenizer(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    write_zeros(folder, layers=1, vocabulary=size)
    return folder


def ended(store: Store, base: Path, drafts: list[PairDraft], **settings: Any) -> Run:
    datasets.create(store, "mine")
    pairs.create_many(store, drafts, dataset="mine", skip_duplicates=False)
    config = TrainConfig(model=str(base), recipe="quick", steps=4, method="lora").replace(**settings)
    run_control.start(store, run_control.submit(store, config, "mine", "spoilt").name)
    return run_control.wait(store, "spoilt")


def test_a_fix_of_rows_trains_on_a_dataset_of_its_own(store: Store, base: Path, fake_workers: None) -> None:
    drafts = [
        PairDraft(f"Who is {n}?", answer)
        for n in range(6)
        for answer in ("I am Ember.", "Bolt, a robot.", "Bolt, robot")
    ]
    ended(store, base, drafts)
    cause = fixing.diagnosis_of(store, "spoilt").causes[0]
    assert cause.kind == "data"
    fixed = fixing.start_fix(store, "spoilt", cause.fix)
    assert fixed.name == "spoilt-fix-1"
    rows = datasets.snapshot_rows(store, fixed.snapshot)
    assert len(rows) == 12 and not [row for row in rows if "Ember" in row.messages[-1]["content"]]
    assert datasets.get(store, "mine").ready == 18, "the user's own dataset is as it was"
    run_control.wait(store, fixed.name)


def test_a_fix_of_system_texts(store: Store, base: Path, fake_workers: None) -> None:
    ended(store, base, [PairDraft(f"Question {n}?", "I am Ember.", system=SYSTEM) for n in range(6)])
    cause = next(c for c in fixing.diagnosis_of(store, "spoilt").causes if c.kind == "system")
    fixed = fixing.start_fix(store, "spoilt", cause.fix)
    rows = datasets.snapshot_rows(store, fixed.snapshot)
    assert len(rows) == 6 and {message["role"] for row in rows for message in row.messages} == {"user", "assistant"}
    run_control.wait(store, fixed.name)
    assert "system" not in [c.kind for c in fixing.diagnosis_of(store, fixed.name).causes]


def test_a_fix_of_settings_trains_on_the_same_snapshot(store: Store, base: Path, fake_workers: None) -> None:
    run = ended(store, base, [PairDraft(f"Question {n}?", "word " * 300) for n in range(6)], max_length=64)
    cause = next(c for c in fixing.diagnosis_of(store, "spoilt").causes if c.kind == "truncation")
    fixed = fixing.start_fix(store, "spoilt", cause.fix)
    assert fixed.snapshot == run.snapshot and fixed.config["max_length"] > 64
    run_control.wait(store, fixed.name)
    assert "truncation" not in [c.kind for c in fixing.diagnosis_of(store, fixed.name).causes]


def test_a_run_that_has_not_ended_is_not_diagnosed(store: Store, submit: Any) -> None:
    submit("hold", name="busy")
    with pytest.raises(Conflict, match="can be diagnosed when it has ended"):
        fixing.diagnosis_of(store, "busy")
