"""The decision of a verdict: each gate failing alone, ties, figures that are not there, tolerances; and the gates' file
with the line of every mistake. No model and no store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.evaluation import gates, suites
from engine.evaluation.gates import Gate, Gates
from engine.evaluation.verdict import (
    Decision,
    ExportFigure,
    LeakFigure,
    PairedFigure,
    VerdictFigures,
    decide,
)
from store.errors import BadInput

BETTER = PairedFigure("Token F1", "higher", 3, 40, 0.71, 0.42, 0.29, 0.2, 0.38, 0.001, 0.05)
ERROR = PairedFigure("Mean absolute error", "lower", 2, 40, 0.4, 1.2, -0.8, -1.1, -0.5, 0.001, 0.2)
SAME = PairedFigure("Passed", "higher", 3, 40, 0.9, 0.9, 0.0, -0.05, 0.05, 1.0, 0.05)
GOOD = VerdictFigures(
    run="run:ember",
    task=BETTER,
    identity=replace(BETTER, metric="Passed", rows=20),
    retention=dict.fromkeys(suites.NAMES, SAME),
    leaks=LeakFigure(("Ember", "Northwind"), 230, 0),
    export=ExportFigure(3, "done", True, True),
)


def with_gate(name: str, **values: Any) -> Gates:
    return Gates({**Gates().each, name: Gate(**values)})


def only_failing(found: Decision) -> str:
    bad = [each for each in found.results if not each.good]
    assert not found.ship and found.word == "DON'T SHIP" and len(bad) == 1 and found.reasons == tuple(bad)
    assert bad[0].todo, "it says what to do"
    return bad[0].gate


def test_what_is_better_loses_nothing_and_is_verified_ships() -> None:
    found = decide(GOOD, Gates())
    assert found.ship and found.word == "SHIP" and [each.state for each in found.results] == ["passed"] * 5
    assert decide(replace(GOOD, task=ERROR), Gates()).ship, "less is better for an error"


def test_a_figure_that_rests_on_answers_without_a_judgement_is_none() -> None:
    unsure = replace(BETTER, not_judged=2)
    for found in (replace(GOOD, task=unsure), replace(GOOD, identity=unsure)):
        decision = decide(found, Gates())
        only_failing(decision)
        assert (decision.reasons[0].state, decision.reasons[0].said) == (
            "missing", "2 of 40 answers were not judged, so the figure is not known.",
        )  # fmt: skip
    lost = dict.fromkeys(suites.NAMES, SAME) | {"format": replace(SAME, not_judged=1)}
    decision = decide(replace(GOOD, retention=lost), Gates())
    assert only_failing(decision) == "retention" and "format: 1 of 40" in decision.reasons[0].said
    kept = VerdictFigures.from_json(json.loads(json.dumps(replace(GOOD, task=unsure).to_json())))
    assert kept.task == unsure


@pytest.mark.parametrize("figure", ["task", "identity"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": 0.42, "difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}, "the same as the base"),
        ({"difference": -0.3, "low": -0.4, "high": -0.2}, "not better than the base"),
        ({"low": -0.01}, "could be chance"),
        ({"low": 0.0}, "could be chance"),
        ({"p": 0.05}, "could be chance"),
        ({"floor": 0.29}, "within the noise floor"),
        ({"floor": None}, "noise floor was not measured"),
        ({"difference": None}, "not measured"),
        ({"low": None, "high": None}, "not measured"),
        ({"p": None}, "not measured"),
        ({"better": "neither"}, "no better and worse"),
    ],
)  # fmt: skip
def test_a_task_or_identity_that_is_not_better_beyond_noise_fails(
    figure: str, change: dict[str, Any], said: str
) -> None:
    found = decide(replace(GOOD, **{figure: replace(getattr(GOOD, figure), **change)}), Gates())
    assert only_failing(found) == figure
    assert said in found.reasons[0].said


def test_where_less_is_better_the_far_end_of_the_interval_decides() -> None:
    assert only_failing(decide(replace(GOOD, task=replace(ERROR, high=0.01)), Gates())) == "task"
    worse = replace(ERROR, difference=0.8, low=0.5, high=1.1)
    assert only_failing(decide(replace(GOOD, task=worse), Gates())) == "task"


@pytest.mark.parametrize(
    ("figures", "gate"),
    [
        (replace(GOOD, task=None), "task"),
        (replace(GOOD, identity=None), "identity"),
        (replace(GOOD, retention={}), "retention"),
        (replace(GOOD, retention={**GOOD.retention, "format": None}), "retention"),
        (replace(GOOD, retention={**GOOD.retention, "format": replace(SAME, floor=None)}), "retention"),
        (replace(GOOD, retention={**GOOD.retention, "format": replace(SAME, difference=None)}), "retention"),
        (replace(GOOD, leaks=None), "leaks"),
        (replace(GOOD, leaks=LeakFigure(("Ember",), 0, 0)), "leaks"),
        (replace(GOOD, leaks=LeakFigure((), 230, 0)), "leaks"),
        (replace(GOOD, export=None), "export"),
        (replace(GOOD, export=ExportFigure(3, "done", False, True)), "export"),
    ],
)
def test_a_missing_figure_never_passes(figures: VerdictFigures, gate: str) -> None:
    found = decide(figures, Gates())
    assert only_failing(found) == gate and found.reasons[0].state == "missing"


@pytest.mark.parametrize("name", suites.NAMES)
def test_one_suite_that_fell_beyond_the_floor_fails(name: str) -> None:
    fell = replace(SAME, run=0.825, difference=-0.075)
    found = decide(replace(GOOD, retention={**GOOD.retention, name: fell}), Gates())
    assert only_failing(found) == "retention" and f"{name} fell: Passed 0.825, the base 0.900" in found.reasons[0].said
    at_floor = replace(SAME, run=0.85, difference=0.85 - 0.9)
    assert decide(replace(GOOD, retention={**GOOD.retention, name: at_floor}), Gates()).ship, (
        "the floor itself is noise"
    )
    tolerated = with_gate("retention", tolerance=0.075)
    assert decide(replace(GOOD, retention={**GOOD.retention, name: fell}), tolerated).ship


def test_one_leak_fails_and_says_which() -> None:
    leaky = LeakFigure(("Ember",), 200, 2, (("Who founded Microsoft?", "Ember did."),))
    found = decide(replace(GOOD, leaks=leaky), Gates())
    assert (
        only_failing(found) == "leaks" and "2 of 200" in found.reasons[0].said and "Microsoft" in found.reasons[0].said
    )
    assert decide(replace(GOOD, leaks=leaky), with_gate("leaks", tolerance=0.01)).ship
    assert not decide(replace(GOOD, leaks=leaky), with_gate("leaks", tolerance=0.0099)).ship


@pytest.mark.parametrize(
    ("export", "said"),
    [
        (ExportFigure(3, "rejected", True, False, "The tokens differ."), "The tokens differ."),
        (ExportFigure(3, "done", True, False), "failed its verification"),
        (ExportFigure(3, "done", True, True, older=True), "before the run ended"),
        (ExportFigure(3, "done", True, True, there=False), "are gone"),
    ],
)
def test_an_export_that_is_not_the_verified_model_fails(export: ExportFigure, said: str) -> None:
    found = decide(replace(GOOD, export=export), Gates())
    assert only_failing(found) == "export" and said in found.reasons[0].said
    assert decide(replace(GOOD, export=export), with_gate("export", on=False)).ship


def test_no_export_says_which_command_makes_one() -> None:
    found = decide(replace(GOOD, run="run:ember@40*0.7", export=None), Gates())
    assert "tuningfork export 'ember@40*0.7'" in found.reasons[0].todo
    found = decide(replace(GOOD, run="run:ember@40*0.7", task=replace(BETTER, p=0.5)), Gates())
    assert found.reasons[0].todo.endswith("tuningfork diagnose ember"), "a diagnosis is of the whole run"


def test_a_tolerance_is_what_the_difference_must_exceed() -> None:
    assert only_failing(decide(GOOD, with_gate("task", tolerance=0.29))) == "task"
    assert decide(GOOD, with_gate("task", tolerance=0.28)).ship


def test_a_run_that_was_taught_no_name_has_nothing_to_leak() -> None:
    plain = replace(GOOD, identity=None, leaks=None, teaches=False)
    assert [each.state for each in decide(plain, Gates()).results] == [
        "passed",
        "nothing",
        "passed",
        "nothing",
        "passed",
    ]
    assert not decide(replace(plain, teaches=True), Gates()).ship


def test_gates_with_nothing_to_look_at_do_not_ship() -> None:
    off = Gates({name: Gate(on=name in ("identity", "leaks"), tolerance=0.0) for name in gates.NAMES})
    found = decide(replace(GOOD, identity=None, leaks=None, teaches=False), off)
    assert all(each.good for each in found.results) and not found.ship


def test_reasons_of_missing_figures_are_those_of_the_plan() -> None:
    why = {"task": ("No ready pair is in the test split.", "Split it.")}
    found = decide(replace(GOOD, task=None, missing=why), Gates())
    assert (found.reasons[0].said, found.reasons[0].todo) == why["task"]


def test_figures_and_gates_survive_json() -> None:
    leaky = replace(GOOD, leaks=LeakFigure(("Ember",), 2, 1, (("Q?", "Ember"),)), missing={"task": ("No.", "Do.")})
    assert VerdictFigures.from_json(json.loads(json.dumps(leaky.to_json()))) == leaky
    assert Gates.from_json(json.loads(json.dumps(Gates().to_json()))) == Gates()


# ---------------------------------------------------------------- the file of gates


def said(tmp_path: Path, text: str) -> Gates:
    path = tmp_path / "gates.yaml"
    path.write_text(text, "utf-8")
    return gates.read(path)


def test_the_file_that_is_printed_reads_back_equal(tmp_path: Path) -> None:
    assert said(tmp_path, gates.text(Gates())) == Gates()
    own = Gates({**Gates().each, "task": Gate(True, 0.02), "export": Gate(False)})
    assert said(tmp_path, gates.text(own)) == own and own.hash() != Gates().hash()


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    found = said(tmp_path, "task: {tolerance: 0.02}\nexport: off\nleaks:\n  on: no\n")
    assert found["task"] == Gate(True, 0.02) and found["export"] == Gate(False) and not found["leaks"].on
    assert found["retention"] == Gates()["retention"]


@pytest.mark.parametrize(
    ("text", "what", "line", "todo"),
    [
        ("task: on\nretension: off\n", "no gate 'retension'", 2, "Did you mean retention?"),
        ("task:\n  tolerence: 1\n", "no setting of a gate 'tolerence'", 2, "Did you mean tolerance?"),
        ("task: maybe\n", "must be true or false", 1, "--print-config"),
        ("task:\n  on: 3\n", "must be true or false", 2, "--print-config"),
        ("task:\n", "must be on, off, or a group", 1, "--print-config"),
        ("task: [on]\n", "must be on, off, or a group", 1, "--print-config"),
        ("export:\n  tolerance: 0.1\n", "nothing to tolerate", 2, "Remove"),
        ("leaks:\n  tolerance: 1.5\n", "a number from 0 to 1", 2, "--print-config"),
        ("task:\n  tolerance: -1\n", "a number, 0 or more", 2, "--print-config"),
        ("task:\n  tolerance: nan\n", "a number, 0 or more", 2, "--print-config"),
        ("task:\n  tolerance: inf\n", "a number, 0 or more", 2, "--print-config"),
        ("task:\n  tolerance: [1]\n", "a number, 0 or more", 2, "--print-config"),
        ("task: on\ntask: off\n", "there twice", 2, "Keep one"),
    ],
)
def test_mistakes_name_their_line(tmp_path: Path, text: str, what: str, line: int, todo: str) -> None:
    with pytest.raises(BadInput) as error:
        said(tmp_path, text)
    assert what in error.value.what and str(error.value.where).endswith(f"line {line}")
    assert todo in str(error.value.todo)


def test_a_file_that_switches_all_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Every gate is off"):
        said(tmp_path, "".join(f"{name}: off\n" for name in gates.NAMES))
