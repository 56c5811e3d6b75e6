"""The numbers of runs over their steps or their training time, read as they come.
Called in the threads of the bridge; knows no widget."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from engine.training import watched_probes
from engine.training.config import FIELDS
from engine.training.objectives import OBJECTIVES
from engine.training.run_control import MetricReader
from engine.training.stop_rules import PROBE_METRIC
from store import runs
from store.db import Store
from store.records import Attempt, Run

LOSS = "loss"
"""The measure that every run has, whatever its objective calls it."""
ALWAYS = {"lr": "rate", "tokens_per_s": "tokens/s"}

Points = tuple[tuple[float, float], ...]
"""(x, value); x is a step, or seconds of training."""


def watched_label(metric: str) -> str:
    """What a page calls a number that a run measured of itself; "" for others."""
    if metric.startswith(PROBE_METRIC):
        return watched_probes.title(metric.removeprefix(PROBE_METRIC))
    return metric if metric == "drift" else ""


class RunCurves:
    """The finite numbers of one run, or those of `names` alone. A call reads what was written since the last one."""

    def __init__(self, run_id: int, names: Sequence[str] | None = None) -> None:
        self.run_id = run_id
        self._reader = MetricReader(run_id, names)
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
        return {name: sorted((step, value) for step, (value, _) in at.items()) for name, at in self._points.items()}

    def by_time(self, attempts: Sequence[Attempt]) -> dict[str, list[tuple[float, float]]]:
        """The points (seconds of training, value) of each metric in their order; pauses between attempts do not count.
        A step that a resumed run did again has the time of the second try."""
        return {
            name: sorted((training_seconds(attempts, at), value) for value, at in points.values())
            for name, points in self._points.items()
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
    """One measure of one run, over the steps or the time. `name` is what the measure is called, `measures` are all that
    the run has; `val` the validation loss beside its loss. `last` and `last_val` are the newest values, `steps` where
    the run's steps end."""

    run: Run
    name: str
    measures: tuple[str, ...]
    points: Points
    val: Points
    last: float | None
    last_val: float | None
    steps: int


class DrawnRuns:
    """Reads the curves of a few runs again and again, of each measure once it is asked for. May be called from several
    threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._curves: dict[tuple[int, str], RunCurves] = {}

    def read(self, store: Store, names: Sequence[str], measure: str = LOSS, *, timed: bool = False) -> list[DrawnRun]:
        """A measure of these runs now. NotFound when one was removed."""
        found = [runs.get(store, name) for name in names]
        with self._lock:
            wanted = {run.id for run in found}
            self._curves = {key: curves for key, curves in self._curves.items() if key[0] in wanted}
            return [self._drawn(store, run, measure, timed) for run in found]

    def _drawn(self, store: Store, run: Run, measure: str, timed: bool) -> DrawnRun:
        objective = OBJECTIVES.get(run.config.get("objective", FIELDS["objective"].default))
        main = objective.chart if objective else LOSS
        labels = {name: label for name in runs.metric_names(store, run.id) if (label := watched_label(name))} | ALWAYS
        known = {label: name for name, label in labels.items()} | {LOSS: main}
        metric, val = known.get(measure, ""), f"val_{main}" if measure == LOSS else ""
        curves = self._curves.setdefault((run.id, measure), RunCurves(run.id, [metric, val]))
        curves.read(store)
        steps = curves.by_step()
        drawn = curves.by_time(runs.attempts(store, run.id)) if timed else steps
        return DrawnRun(
            run=run,
            name=main if measure == LOSS else measure,
            measures=tuple(known),
            points=tuple(drawn.get(metric, ())),
            val=tuple(drawn.get(val, ())),
            last=steps[metric][-1][1] if steps.get(metric) else None,
            last_val=steps[val][-1][1] if steps.get(val) else None,
            steps=run.total_steps or run.step,
        )
