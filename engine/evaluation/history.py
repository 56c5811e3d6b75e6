"""How a metric moved from evaluation to evaluation: the figures of all models that were asked the same rows, in the
order in which they were measured, as records and as a plot of plain text. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.evaluating import TEST
from store import evaluations
from store.canon import canonical, sha256
from store.db import Store

ALL = "all"
"""In place of a metric's name: every metric, not only the one that decides."""
_NAME, _SHORTEST = 30, 12


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """A model's figure in one evaluation, with its 95% interval."""

    evaluation: int
    at: int
    side: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class HistorySeries:
    """A metric of one set of rows over time: only figures on the very same rows are comparable. `what` is the dataset
    and split, or the suite; `points` are in the order in which they were measured, `evaluations` all
    that measured any."""

    what: str
    part: str
    rows: int
    metric: str
    title: str
    better: str
    digits: int
    points: tuple[HistoryPoint, ...]
    evaluations: tuple[int, ...] = ()

    @property
    def heading(self) -> str:
        """`reviews test, 100 rows: Accuracy, higher is better`."""
        better = "" if self.better == "neither" else f", {self.better} is better"
        return f"{self.what}, {self.rows} row{'s'[: self.rows != 1]}: {self.title}{better}"


def history(store: Store, *, part: str | None = None, metric: str | None = None) -> list[HistorySeries]:
    """The series of every set of rows that was asked, the one asked last first.

    `part` keeps one part; `metric` is a metric's name, ALL for all, None for the one that decides. A model whose
    weights, context and sampling are those of an earlier figure is not repeated.
    """
    found: dict[tuple[str, ...], list[HistoryPoint]] = {}
    heads: dict[tuple[str, ...], dict[str, Any]] = {}
    measured_by: dict[tuple[str, ...], list[int]] = {}
    seen: set[tuple[Any, ...]] = set()
    for each, one, measured, asked in _measured(store, part, metric):
        key = (one["part"], measured["name"], asked)
        what = f"{each.plan['dataset']} {each.plan['split']}" if one["part"] == TEST else one["part"]
        heads[key] = {"what": what, "part": one["part"], "rows": one["rows"], "metric": measured["name"],
                      **{name: measured[name] for name in ("title", "better", "digits")}}  # fmt: skip
        measured_by.setdefault(key, []).append(each.id)
        sides = {side["side"]: side for side in each.report["sides"] if side["role"] != "floor"}
        for value in measured["values"]:
            side = sides.get(value["side"])
            if side is None or value["value"] is None:
                continue
            who = (key, side["identity"], canonical([side["model"], side["context"], side["sampling"]]))
            if who not in seen:
                seen.add(who)
                point = HistoryPoint(
                    each.id, each.created_at, value["side"], value["value"], value["low"], value["high"]
                )
                found.setdefault(key, []).append(point)
    order = sorted(found, key=lambda key: -measured_by[key][-1])
    return [HistorySeries(**heads[key], points=tuple(found[key]), evaluations=tuple(measured_by[key])) for key in order]


def _measured(store: Store, part: str | None, metric: str | None) -> Iterator[tuple[Any, Any, Any, str]]:
    """Each metric of each part that is wanted, the oldest evaluation first: the evaluation, its part and its metric as
    its report has them, and the hash of the rows that were asked."""
    for each in reversed(evaluations.all_evaluations(store)):
        if each.report is None:
            continue
        rows = evaluations.rows(store, each.id)
        for one in each.report["parts"]:
            if part not in (None, one["part"]):
                continue
            asked = sha256(canonical([[r.messages, r.reference, r.expect] for r in rows if r.part == one["part"]]))
            for measured in one["metrics"]:
                if metric == ALL or measured["name"] == (metric or one["deciding"]):
                    yield each, one, measured, asked


def plot(series: HistorySeries, width: int) -> list[str]:
    """A line for each figure, the newest last: its evaluation, its model, its interval with a dot on one scale, and the
    figure; above them the ends of the scale. No line is longer than `width` cells of narrow text.

    >>> points = (HistoryPoint(1, 0, "base", 0.4, 0.3, 0.5), HistoryPoint(2, 0, "run:a", 0.6, 0.5, 0.7))
    >>> shown = HistorySeries("cities test", "test", 40, "match", "Match", "higher", 2, points)
    >>> for line in plot(shown, 40): print(line)
             0.30                  0.70
    1 base   ├─────●──────┤             0.40
    2 run:a               ├─────●─────┤ 0.60
    """
    digits = series.digits
    low, high = min(each.low for each in series.points), max(each.high for each in series.points)
    numbers = max(len(str(each.evaluation)) for each in series.points)
    figures = max(len(f"{each.value:.{digits}f}") for each in series.points)
    name = min(_NAME, max(len(each.side) for each in series.points), max(8, width // 3))
    cells = max(_SHORTEST, width - numbers - name - figures - 4)

    def at(value: float) -> int:
        return round((value - low) / ((high - low) or 1.0) * (cells - 1))

    ends = f"{low:.{digits}f}", f"{high:.{digits}f}"
    lines = [f"{'':{numbers + name + 3}}{ends[0]}{ends[1]:>{cells - len(ends[0])}}"]
    for each in series.points:
        drawn = [" "] * cells
        first, last = at(each.low), at(each.high)
        drawn[first : last + 1] = "─" * (last + 1 - first)
        drawn[first], drawn[last] = "├", "┤"
        drawn[at(each.value)] = "●"
        side = each.side if len(each.side) <= name else _cut(each.side, name)
        lines.append(f"{each.evaluation:>{numbers}} {side:<{name}}  {''.join(drawn)} {each.value:>{figures}.{digits}f}")
    return lines


def _cut(side: str, width: int) -> str:
    """The beginning of a name; of a path the end, which says more."""
    return "…" + side[1 - width :] if side.startswith("/") else side[: width - 1] + "…"


def of_evaluation(found: Sequence[HistorySeries], number: int) -> list[HistorySeries]:
    """The series that an evaluation measured, and that show figures of more than one."""
    return [each for each in found if number in each.evaluations and len({p.evaluation for p in each.points}) > 1]
