"""The numbers of runs over their steps or their training time, read as they come.
Called in the threads of the bridge; knows no widget."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.training.config import FIELDS
from engine.training.objectives import OBJECTIVES
from engine.training.run_control import MetricReader
from engine.training.stop_rules import PROBE_METRIC
from store import runs
from store.db import Store
from store.records import Attempt, Run

LOSS = "loss"
"""The measure that every run has, whatever its objective calls it."""
VAL = "validation loss"
ALWAYS = {"lr": "rate", "tokens_per_s": "tokens/s"}

Points = tuple[tuple[float, float], ...]
"""(x, value); x is a step, or seconds of training."""


def watched_label(metric: str) -> str:
    """What a page calls a number that a run measured of itself; "" for others."""
    if metric.startswith(PROBE_METRIC):
        return metric.removeprefix(PROBE_METRIC)
    return metric if metric == "drift" else ""


class RunCurves:
    """The finite numbers of one run. A call reads what was written since the last one."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        self._reader = MetricReader(run_id)
        self._points: dict[str, dict[int, tuple[float, int]]] = {}

    def read(self, store: Store) -> None:
        """Take in what is new."""
        for metric in self._reader.fresh(store):
            if metric.value is None:  # not a finite number
                self._points.get(metric.name, {}).pop(metric.step, None)
            else:
                self._points.setdefault(metric.name, {})[metric.step] = (metric.value, metric.at)

    def by_step(self) -> dict[str, list[tuple[int, float]]]:
        """The points (step, value) of each metric in order of steps."""
        return {name: [(step, at[step][0]) for step in sorted(at)] for name, at in self._points.items()}

    def by_time(self, attempts: Sequence[Attempt]) -> dict[str, list[tuple[float, float]]]:
        """The points (seconds of training, value) of each metric in their order; pauses between attempts do not count.
        A step that a resumed run did again has the time of the second try."""
        return {
            name: sorted((training_seconds(attempts, written), value) for value, written in at.values())
            for name, at in self._points.items()
        }


def training_seconds(attempts: Sequence[Attempt], at: int) -> float:
    """How long a run had been trained at a UTC millisecond time: attempts count, the pauses between them do not.

    >>> # attempts from 0 to 10 s and from 60 s on: at 65 s the run had trained for 15 s
    """
    starts = [each.started_at for each in attempts]
    last = max(0, bisect_right(starts, at) - 1)
    before = sum((each.ended_at or each.started_at) - each.started_at for each in attempts[:last])
    return max(0, before + at - starts[last]) / 1000 if attempts else 0.0


@dataclass(frozen=True, slots=True)
class DrawnRun:
    """The curves of one run by their labels, over the steps and over the time; `metric` is what the run's objective
    calls its loss, `steps` where its steps end."""

    run: Run
    metric: str
    steps: int
    by_step: Mapping[str, Points] = field(default_factory=dict)
    by_time: Mapping[str, Points] = field(default_factory=dict)

    def last(self, measure: str) -> float | None:
        """The newest value of a measure; None where the run has not measured it."""
        points = self.by_step.get(measure, ())
        return points[-1][1] if points else None


class DrawnRuns:
    """Reads the curves of a few runs again and again. May be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._curves: dict[int, RunCurves] = {}

    def read(self, store: Store, names: Sequence[str]) -> list[DrawnRun]:
        """These runs now. NotFound when one was removed."""
        found = [runs.get(store, name) for name in names]
        with self._lock:
            self._curves = {run.id: self._curves.get(run.id) or RunCurves(run.id) for run in found}
            return [self._drawn(store, run) for run in found]

    def _drawn(self, store: Store, run: Run) -> DrawnRun:
        curves = self._curves[run.id]
        curves.read(store)
        objective = OBJECTIVES.get(run.config.get("objective", FIELDS["objective"].default))
        metric = objective.chart if objective else LOSS
        steps = curves.by_step()
        times = curves.by_time(runs.attempts(store, run.id))
        labels = {metric: LOSS, f"val_{metric}": VAL}
        labels |= {name: label for name in steps if (label := watched_label(name))} | ALWAYS
        return DrawnRun(
            run,
            metric,
            run.total_steps or run.step,
            {label: tuple(steps[name]) for name, label in labels.items() if steps.get(name)},
            {label: tuple(times[name]) for name, label in labels.items() if times.get(name)},
        )
