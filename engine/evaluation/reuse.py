"""What was asked before is not asked again: finished evaluations that have the same rows, of the same models as they
are now, sampled alike; and evaluations that were begun with a plan and were cut off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.core import jobs
from engine.evaluation import evaluating
from engine.evaluation.evaluating import TEST, EvaluationPlan
from store import evaluations
from store.canon import canonical
from store.db import Store
from store.evaluations import Evaluation, EvaluationRow, EvaluationSide
from store.records import END_STATES


def missing(store: Store, wanted: Iterable[EvaluationPlan]) -> list[EvaluationPlan]:
    """Plans without the parts that a finished evaluation has; those of which nothing is left fall out."""
    found = []
    for planned in wanted:
        missing = [part for part in parts(planned.rows) if finished(store, planned, part) is None]
        if rows := [row for row in planned.rows if row.part in missing]:
            found.append(replace(planned, rows=numbered(rows)))
    return found


def ask(store: Store, planned: EvaluationPlan) -> Evaluation:
    """Start a plan's job; one that was begun before and was cut off is continued, one that runs is returned."""
    for begun in evaluations.all_evaluations(store):
        if begun.report is None and begun.kind == planned.request.kind and _is(store, begun, planned):
            jobs.reap(store)
            job = evaluating.job_of(store, begun)
            running = job is not None and job.state not in END_STATES
            return begun if running else evaluating.resume(store, begun.id)
    return evaluating.submit(store, planned)


def _is(store: Store, begun: Evaluation, planned: EvaluationPlan) -> bool:
    """Whether an evaluation asks exactly what a plan would ask."""
    sides = [_side(each) for each in evaluations.sides(store, begun.id)]
    return (
        sides == [_side(each) for each in planned.sides]
        and _said(evaluations.rows(store, begun.id)) == _said(planned.rows)
        and _measured_alike(begun, planned)
    )


def finished(store: Store, planned: EvaluationPlan, part: str) -> Evaluation | None:
    """The newest finished evaluation with this part of the plan."""
    wanted = _said(row for row in planned.rows if row.part == part)
    sides = {_side(each) for each in planned.sides}
    for found in evaluations.all_evaluations(store):
        if found.report is None or (part == TEST and not _measured_alike(found, planned)):
            continue
        if sides <= {_side(each) for each in evaluations.sides(store, found.id)}:
            rows = evaluations.rows(store, found.id)
            if _said(row for row in rows if row.part == part) == wanted:
                return found
    return None


def _measured_alike(found: Evaluation, planned: EvaluationPlan) -> bool:
    return found.plan["type"] == planned.type and found.plan["metrics"] == list(planned.request.metrics)


def _side(side: EvaluationSide) -> str:
    return canonical([side.model, side.role, side.context, side.sampling, side.identity])


def _said(rows: Iterable[EvaluationRow]) -> list[str]:
    return [canonical([row.part, row.messages, row.reference, row.expect]) for row in rows]


def parts(rows: Sequence[EvaluationRow]) -> list[str]:
    """The names of the parts that rows belong to, in order."""
    return list(dict.fromkeys(row.part for row in rows))


def numbered(rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    """Rows as an evaluation numbers them, from 0."""
    return [replace(row, ord=n) for n, row in enumerate(rows)]
