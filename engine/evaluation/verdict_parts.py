"""What a verdict asks and measures: the parts (test rows, suites, identity, leaks) that its gates need, finished
evaluations of the same models on the same rows in place of asking again, and the figures. Deciding is verdict.py's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.evaluation import evaluating, reuse, suites
from engine.evaluation.evaluating import SUITE_LONGEST, TEST, EvaluationPlan, EvaluationRequest
from engine.evaluation.gates import Gates
from engine.evaluation.metrics.answer_types import AnswerType
from engine.evaluation.verdict import ExportFigure, LeakFigure, PairedFigure, VerdictFigures, names_of
from engine.inference.sampling import Sampling
from engine.models import refs
from engine.models.refs import Ref
from store import datasets, evaluations, exports, runs
from store.canon import canonical, sha256
from store.curate.wizard.identity import general_questions
from store.db import Store
from store.errors import BadInput, UserError
from store.evaluations import EvaluationRow, EvaluationSide
from store.records import Export, Probe, Run, Split
from store.terms import contains

IDENTITY, LEAKS = "identity", "leaks"
ROWS = 100
"""Rows of the split, and of each suite, unless the request says otherwise."""
_SEED = "verdict 0"
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class VerdictRequest:
    """What is to be decided. `against` None is the run's base, and for what is no run the model itself; `dataset` None
    the one that the run was trained on; at most
    `rows` of the split and of each suite are asked, 0 for all; `probes` are the run's sets `identity` and `leaks`, as
    far as a name to look for is known, and `teaches` says whether its data has identity rows at all."""

    model: str
    against: str | None = None
    dataset: str | None = None
    split: Split = "test"
    gates: Gates = field(default_factory=Gates)
    rows: int = ROWS
    metric: str | None = None
    type: AnswerType | None = None
    probes: Mapping[str, Sequence[Probe]] = field(default_factory=dict)
    teaches: bool = False


@dataclass(slots=True)
class VerdictPlan:
    """What a verdict needs: `wanted` are whole plans, one for the split and one for all checks, each with its sides;
    `missing` says for a gate why its figure cannot be had. `ref` and `against` are the models' normal forms; `run` is
    None for a model that is no run. `only_name` says that a name is all that the run's data teaches."""

    request: VerdictRequest
    run: Run | None
    ref: Ref
    against: str
    wanted: list[EvaluationPlan]
    notes: list[str]
    missing: dict[str, tuple[str, str]]
    only_name: bool = False

    @property
    def leaves(self) -> list[str]:
        """The models that are elsewhere."""
        return list(dict.fromkeys(model for each in self.wanted for model in each.leaves))


def plan(store: Store, request: VerdictRequest) -> VerdictPlan:
    """Settle what is asked. NotFound or UserError when the dataset that was named has nothing to ask. Where none was
    named, that is a reason against shipping instead."""
    resolved = refs.resolve(store, request.model)
    ref = Ref.read(resolved.ref)
    run = runs.get(store, ref.value) if ref.is_run else None
    against = refs.resolve(store, request.against or (run.base if run else str(ref))).ref
    if run and against == str(ref):
        raise BadInput("A run cannot be compared with itself.", where="--against", todo=f"Leave it out: {run.base}.")
    made = VerdictPlan(request, run, ref, against, [], [resolved.note] if resolved.note else [], {})
    common = EvaluationRequest((str(ref),), against=against, floor=True, kind="verdict")
    if request.gates["task"].on:
        _plan_task(store, made, common)
    checks = _checks(made)
    if checks:
        short = replace(common, sampling=Sampling(max_tokens=SUITE_LONGEST))
        planned = evaluating.plan(store, short, checks)
        made.wanted.append(planned)
        made.notes.extend(planned.notes)
    if request.teaches and not request.probes:
        what = "The name that the identity rows teach cannot be read off them."
        for name in (IDENTITY, LEAKS):
            made.missing[name] = (what, "Say it: --set name=NAME --set author=MAKER")
    return made


def _plan_task(store: Store, made: VerdictPlan, common: EvaluationRequest) -> None:
    """Add the rows of the split to a plan, without those that the run was trained on."""
    request = made.request
    run = made.run
    dataset = request.dataset or (datasets.snapshot(store, run.snapshot).dataset if run else None)
    if dataset is None and run is None:
        made.missing["task"] = (f"{made.ref} is no run, so no dataset is its own.", "Name one: --dataset NAME")
        return
    if dataset is None:
        made.missing["task"] = ("The dataset of the run is gone.", "Name another one: --dataset NAME")
        return
    metrics = (request.metric,) if request.metric else ()
    asked = replace(
        common, dataset=dataset, split=request.split, limit=request.rows, type=request.type, metrics=metrics
    )
    try:
        planned = evaluating.plan(store, asked)
    except UserError as error:
        if request.dataset is not None or isinstance(error, BadInput):
            raise
        made.missing["task"] = (error.what, error.todo or "Name another dataset: --dataset NAME")
        made.only_name = run is not None and request.teaches and _only_name(store, run)
        return
    trained = evaluating.trained_questions(store, run.snapshot) if run else set()
    rows = [row for row in planned.rows if evaluating.asked_words(row.messages) not in trained]
    if left := len(planned.rows) - len(rows):
        what = f"{left} of {len(planned.rows)} rows of the split were left out: the run was trained on their questions."
        made.notes.append(what)
        if not rows:
            todo = "Name a dataset that it has not seen: --dataset NAME"
            made.missing["task"] = ("The run was trained on every question of the split.", todo)
            return
    made.notes.extend(planned.notes)
    made.wanted.append(replace(planned, rows=reuse.numbered(rows)))


def _only_name(store: Store, run: Run) -> bool:
    """Whether the training rows that are not about the identity are all general ones that come with Tuningfork."""
    known = {evaluating.asked_words([{"role": "user", "content": text}]) for text in general_questions()}
    others = [row for row in datasets.snapshot_rows(store, run.snapshot, "train") if row.kind != "identity"]
    return all(evaluating.asked_words(row.messages[:-1]) in known for row in others)


def _checks(made: VerdictPlan) -> list[EvaluationRow]:
    """The rows that the other gates need."""
    request, rows = made.request, list[EvaluationRow]()
    parts: dict[str, list[EvaluationRow]] = {}
    if request.gates["retention"].on:
        parts |= {name: suites.rows(name) for name in suites.NAMES}
    for name in (IDENTITY, LEAKS):
        if request.gates[name].on and request.probes.get(name):
            parts[name] = suites.from_probes(name, request.probes[name])
    for name, found in parts.items():
        rows += sample(found, request.rows)
        if request.rows and len(found) > request.rows:
            made.notes.append(f"{request.rows} of {len(found)} checks of {name} were asked, always the same ones.")
    return rows


def sample(rows: Sequence[EvaluationRow], most: int) -> list[EvaluationRow]:
    """At most `most` rows, 0 for all, in their order: those with the lowest hash of seed and content, so the same ones
    every time, and fewer are part of more."""
    ranked = sorted(rows, key=lambda row: sha256(f"{_SEED} {canonical(row.messages)}"))
    chosen = {id(row) for row in (ranked[:most] if most else ranked)}
    return [row for row in rows if id(row) in chosen]


# ---------------------------------------------------------------- the figures


def figures(store: Store, made: VerdictPlan) -> tuple[VerdictFigures, dict[str, int]]:
    """What was measured, and the number of the evaluation that each part comes from. A part that is not there yet has
    no figure."""
    where: dict[str, int] = {}
    paired: dict[str, PairedFigure | None] = {}
    for planned in made.wanted:
        for part in reuse.parts(planned.rows):
            if found := reuse.finished(store, planned, part):
                where[part] = found.id
                paired[part] = _paired(found.report or {}, part, planned.sides)
    export, missing = _export(store, made)
    measured = VerdictFigures(
        run=str(made.ref),
        task=paired.get(TEST),
        identity=paired.get(IDENTITY),
        retention={name: paired.get(name) for name in suites.NAMES},
        leaks=_leaks(store, made, where),
        export=export,
        teaches=made.request.teaches or bool(made.request.probes),
        only_name=made.only_name,
        missing=made.missing | missing,
    )
    return measured, where


def notes(store: Store, made: VerdictPlan, where: Mapping[str, int]) -> list[str]:
    """The plan's notes and those of the reports that figures come from: what was cut, what is few. Each once."""
    reports = [evaluations.get(store, number).report or {} for number in dict.fromkeys(where.values())]
    return list(dict.fromkeys([*made.notes, *(note for report in reports for note in report["notes"])]))


def _paired(report: Mapping[str, Any], part: str, sides: Sequence[EvaluationSide]) -> PairedFigure | None:
    """The deciding metric of a part in a report."""
    own = next(each for each in report["parts"] if each["part"] == part)
    metric = next(each for each in own["metrics"] if each["name"] == own["deciding"])
    run, base = sides[0].label, next(side.label for side in sides if side.role == "against")
    values = {each["side"]: each["value"] for each in metric["values"]}
    difference: dict[str, Any] = next((each for each in metric["differences"] if each["side"] == run), {})
    numbers = [
        values.get(run), values.get(base), *(difference.get(key) for key in ("difference", "low", "high", "p")),
        metric["floor"],
    ]  # fmt: skip
    mine, theirs, change, low, high, p, floor = (
        None if each is None or not math.isfinite(each) else float(each) for each in numbers
    )
    not_judged = max(own.get("not_judged", {}).values(), default=0)
    return PairedFigure(
        metric["title"], metric["better"], metric["digits"], own["rows"], mine, theirs, change, low, high, p, floor,
        not_judged,
    )  # fmt: skip


def _leaks(store: Store, made: VerdictPlan, where: Mapping[str, int]) -> LeakFigure | None:
    """The general questions, those of the leak probes and of the suites, that are answered with a taught name. A
    question that speaks of the name itself is none of them."""
    names = names_of(made.request.probes.get(LEAKS, ()))
    if not names or LEAKS not in where or not made.request.gates["leaks"].on:
        return None
    asked, leaked = 0, list[tuple[str, str]]()
    general = {LEAKS, *suites.NAMES}
    for number in dict.fromkeys(number for part, number in where.items() if part in general):
        sides = evaluations.sides(store, number)
        run = next(side.ord for side in sides if side.model == str(made.ref) and side.role == "model")
        base = next(side.ord for side in sides if side.role == "against")
        answers = evaluations.answers(store, number)
        for row in evaluations.rows(store, number):
            if where.get(row.part) != number or row.part not in general or _names(row.question, names):
                continue
            asked += 1
            mine, theirs = answers[run, row.ord].text, answers[base, row.ord].text
            if _names(mine, names) and not _names(theirs, names):
                leaked.append((row.question, mine))
    return LeakFigure(names, asked, len(leaked), tuple(leaked[:_EXAMPLES]))


def _names(text: str, names: Sequence[str]) -> bool:
    return any(contains(text, name) for name in names)


def _export(store: Store, made: VerdictPlan) -> tuple[ExportFigure | None, dict[str, tuple[str, str]]]:
    """The newest export of this very model that was written, and why there is none where only others were exported."""
    ref, run = made.ref, made.run
    if run is None:
        return None, {}
    written = [each for each in exports.all_exports(store, run.name) if each.state in ("done", "rejected")]
    found = next((each for each in written if _model_of(each) == ref), None)
    if found is not None:
        report = found.verification
        why = " ".join(check["said"] for check in report.get("checks", ()) if check["state"] == "failed")
        passed = bool(report.get("passed", report.get("held", False))) and found.state == "done"
        older = ref.step is None and run.ended_at is not None and found.created_at < run.ended_at
        there = store.home.absolute(found.path).exists()
        checked = bool(report.get("checks"))
        return ExportFigure(found.id, found.state, checked, passed, why, there, older), {}
    if written:
        other = _model_of(written[0])
        what = f"Export {written[0].id} is of {other}, not of {ref}."
        return None, {"export": (what, f"Decide on that model: tuningfork verdict '{other}'")}
    return None, {}


def _model_of(export: Export) -> Ref:
    """The run, step and strength that an export was made from."""
    return Ref.run(export.run, export.step, export.verification.get("strength"))
