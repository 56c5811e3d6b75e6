"""The report on an evaluation: every metric of every side with its interval, differences with their significance, the
noise floor, and the rows with what each side got there. Computed from the kept answers; numpy on first use.

The noise floor of a metric is how far the model that others are compared with is from itself when only the seed
differs: the far end of the 95% interval of that difference; of shares of checks by a formula that holds where none of
them differs, too. A difference counts as beyond noise when its own interval
leaves out zero, its p is below 0.05, and it is larger than the floor.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from engine.evaluation import metrics, suites
from engine.evaluation.evaluating import TEST
from engine.evaluation.metrics import AnswerMetric, ScoredAnswer
from engine.evaluation.metrics.answer_types import AnswerType, labels_of
from engine.evaluation.metrics.labels import Accuracy, confusion
from engine.evaluation.metrics.running import Passed
from engine.evaluation.resampling import compared, figure, paired_shares
from store import evaluations
from store.db import Store
from store.errors import Conflict
from store.evaluations import EvaluationAnswer, EvaluationRow, EvaluationSide

if TYPE_CHECKING:
    import numpy as np


def report(store: Store, number: int) -> dict[str, Any]:
    """The report as kept and written as JSON. Conflict while answers are missing."""
    found = evaluations.get(store, number)
    if found.done < found.total:
        raise Conflict(
            f"Evaluation {number} has {found.done} of {found.total} answers.",
            todo=f"Continue it: tuningfork evaluations resume {number}",
        )
    rows, sides = evaluations.rows(store, number), evaluations.sides(store, number)
    answers = evaluations.answers(store, number)
    parts = list(dict.fromkeys(row.part for row in rows))
    measured = []
    for part in parts:
        own = [row for row in rows if row.part == part]
        kind: AnswerType = found.plan["type"] if part == TEST else "check"
        names = found.plan["metrics"] if part == TEST else ()
        measured.append(_part(part, kind, names, own, sides, answers))
    return {
        "evaluation": number,
        "name": found.name,
        "kind": found.kind,
        "plan": found.plan,
        "created_at": found.created_at,
        "sides": [_side(side, rows, answers) for side in sides],
        "parts": measured,
        "notes": [*found.plan["notes"], *_notes(sides, rows, answers)],
    }


def scored(row: EvaluationRow, answer: EvaluationAnswer) -> ScoredAnswer:
    """An answer as metrics see it."""
    said = suites.passed(row, answer.text)
    return ScoredAnswer(
        row.question, answer.text, row.reference or "", None if said is None else said.passed, answer.stop,
        answer.tokens, answer.prompt_tokens, answer.seconds, answer.loss, answer.loss_tokens,
    )  # fmt: skip


def row_scores(store: Store, number: int, part: str | None = None) -> list[dict[str, Any]]:
    """The rows with every side's answer and its score by the deciding metric of the part; `difference` is the first
    side's score minus that of the side it is compared with, positive where it is better. Those that got worse first."""
    found = evaluations.get(store, number)
    rows, sides = evaluations.rows(store, number), evaluations.sides(store, number)
    answers = evaluations.answers(store, number)
    first, other = _pair(sides)
    listed: list[dict[str, Any]] = []
    for name in dict.fromkeys(row.part for row in rows if part in (None, row.part)):
        own = [row for row in rows if row.part == name and all((side.ord, row.ord) in answers for side in sides)]
        kind: AnswerType = found.plan["type"] if name == TEST else "check"
        names = found.plan["metrics"] if name == TEST else ()
        metric = _deciding(kind, names, own)
        values = {side.ord: _values(metric, own, side, answers) for side in sides}
        sign = -1 if metric.better == "lower" else 1
        for at, row in enumerate(own):
            mine = values[first.ord][at]
            theirs = values[other.ord][at] if other else None
            known = mine is not None and theirs is not None
            listed.append({
                "row": row.ord, "part": name, "question": row.question, "messages": row.messages,
                "reference": row.reference, "expect": row.expect, "metric": metric.name,
                "difference": sign * (mine - theirs) if known else None,  # type: ignore[operator]
                "answers": [
                    {"side": side.label, "text": answers[side.ord, row.ord].text, "score": values[side.ord][at],
                     "stop": answers[side.ord, row.ord].stop, "tokens": answers[side.ord, row.ord].tokens}
                    for side in sides if side.role != "floor"
                ],
            })  # fmt: skip
    return sorted(listed, key=lambda each: (each["difference"] is None, each["difference"] or 0.0, each["row"]))


def _pair(sides: Sequence[EvaluationSide]) -> tuple[EvaluationSide, EvaluationSide | None]:
    """The side in question and the one that it is compared with, if there is one."""
    against = next((side for side in sides if side.role == "against"), None)
    return sides[0], against


def _deciding(kind: AnswerType, names: Sequence[str], rows: Sequence[EvaluationRow]) -> AnswerMetric:
    return metrics.chosen(kind, [row.reference or "" for row in rows], [metrics.primary(kind, names)])[0]


def _values(
    metric: AnswerMetric,
    rows: Sequence[EvaluationRow],
    side: EvaluationSide,
    answers: dict[tuple[int, int], EvaluationAnswer],
) -> list[float | None]:
    """The metric of each single answer."""
    if not rows:
        return []
    stats = metric.stats([scored(row, answers[side.ord, row.ord]) for row in rows])
    return [None if math.isnan(each) else float(each) for each in metric.value(stats)]


def _part(
    part: str,
    kind: AnswerType,
    names: Sequence[str],
    rows: Sequence[EvaluationRow],
    sides: Sequence[EvaluationSide],
    answers: dict[tuple[int, int], EvaluationAnswer],
) -> dict[str, Any]:
    """All metrics of one part."""
    each = {side.ord: [scored(row, answers[side.ord, row.ord]) for row in rows] for side in sides}
    made = metrics.chosen(kind, [row.reference or "" for row in rows], names)
    found = {
        "part": part, "type": kind, "rows": len(rows), "deciding": metrics.primary(kind, names),
        "metrics": [_metric(metric, each, sides) for metric in made],
    }  # fmt: skip
    if any(row.expect for row in rows):
        judged = {side.label: sum(one.passed is not None for one in each[side.ord]) for side in sides}
        found["not_judged"] = {label: len(rows) - many for label, many in judged.items() if many < len(rows)}
    if kind in ("label", "rating"):
        table = Accuracy(labels_of(kind, [row.reference or "" for row in rows]), kind == "rating")
        found["confusion"] = {side.label: confusion(table, each[side.ord]) for side in sides if side.role != "floor"}
    return found


def _metric(
    metric: AnswerMetric, each: dict[int, list[ScoredAnswer]], sides: Sequence[EvaluationSide]
) -> dict[str, Any]:
    stats: dict[int, np.ndarray] = {ord: metric.stats(answers) for ord, answers in each.items()}
    floor = _floor(metric, stats, sides)
    against = next((side for side in sides if side.role == "against"), None)
    values, differences = [], []
    for side in sides:
        values.append({"side": side.label, **asdict(figure(metric, stats[side.ord]))})
        if against is None or side.ord == against.ord or side.role == "floor":
            continue
        difference = compared(metric, stats[against.ord], stats[side.ord])
        if difference is None:
            continue
        sure = not difference.low <= 0 <= difference.high and difference.p < 0.05
        beyond = sure and abs(difference.difference) > (floor or 0.0)
        better = None
        if metric.better != "neither" and beyond:
            better = (difference.difference > 0) == (metric.better == "higher")
        differences.append({
            "side": side.label, "against": against.label, **asdict(difference),
            "beyond_noise": beyond, "better": better,
        })  # fmt: skip
    return {
        "name": metric.name, "title": metric.title, "better": metric.better, "digits": metric.digits,
        "note": metric.note, "values": values, "differences": differences, "floor": floor,
    }  # fmt: skip


def _floor(metric: AnswerMetric, stats: dict[int, np.ndarray], sides: Sequence[EvaluationSide]) -> float | None:
    """How far a model is from itself with another seed; None when that was not asked."""
    twins = [side for side in sides if side.role == "floor"]
    if len(twins) != 2:
        return None
    one, two = (stats[side.ord] for side in twins)
    found = compared(metric, one, two)
    if found is None:
        return None
    ends = paired_shares(one, two) if isinstance(metric, Passed) else (found.low, found.high)
    return max(map(abs, ends))


def _side(
    side: EvaluationSide, rows: Sequence[EvaluationRow], answers: dict[tuple[int, int], EvaluationAnswer]
) -> dict[str, Any]:
    own = [answers[side.ord, row.ord] for row in rows]
    return {
        "side": side.label, "model": side.model, "role": side.role, "context": side.context,
        "sampling": side.sampling, "identity": side.identity,
        "seconds": sum(answer.seconds for answer in own), "tokens": sum(answer.tokens for answer in own),
        "prompt_tokens": sum(answer.prompt_tokens for answer in own),
    }  # fmt: skip


def _notes(
    sides: Sequence[EvaluationSide], rows: Sequence[EvaluationRow], answers: dict[tuple[int, int], EvaluationAnswer]
) -> list[str]:
    """What was cut or could not be measured, counted."""
    notes, counts = [], Counter[tuple[str, str]]()
    for side in sides:
        for row in rows:
            answer = answers[side.ord, row.ord]
            counts[side.label, "cut"] += answer.stop == "length"
            counts[side.label, "dropped"] += answer.dropped_turns > 0
            counts[side.label, "loss"] += row.reference is not None and answer.loss is None
        if many := counts[side.label, "cut"]:
            notes.append(f"{many} of {len(rows)} answers of {side.label} were cut at the longest length.")
        if many := counts[side.label, "dropped"]:
            notes.append(f"For {many} answers of {side.label} earlier turns did not fit the context and were left out.")
        if many := counts[side.label, "loss"]:
            notes.append(f"Of {side.label} the loss of {many} references could not be measured; it leaves them out.")
    if len(rows) < 30:
        notes.append(f"{len(rows)} rows are few: intervals by resampling are too narrow below about 30.")
    return notes
