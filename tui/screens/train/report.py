"""What the Train screen asks the store about runs, and the checks before a new one, each in one call.
Called in the threads of the bridge; knows no widget."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.models import refs
from engine.training import continuing, rewards, run_control
from engine.training.config import FIELDS, TrainConfig
from engine.training.data import rows_of
from engine.training.objectives import OBJECTIVES
from engine.training.run_control import RunStatus
from store import datasets, pairs, runs
from store import models as kept_models
from store.db import Store
from store.errors import NotFound, TuningforkError
from store.records import END_STATES, Dataset, Event, Pair, Run
from tui.screens.train.curves import ALWAYS, RunCurves, watched_label

if TYPE_CHECKING:
    from engine.training.estimate import Estimate
    from engine.training.preflight import Preflight

LOG_LINES = 500
_SUBJECT = re.compile(r"^Rows? .*?\) ha(?:s|ve) ")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as the list shows it."""

    status: RunStatus
    checkpoints: tuple[int, ...] = ()

    @property
    def run(self) -> Run:
        return self.status.run


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything that one run's page shows. Points are (step, value), of the metric `chart` in `loss` and `val_loss`;
    `figures` are the latest values of what the objective measures, as (label, value); `events` are those after the last
    one seen."""

    status: RunStatus
    dataset: str
    rows: int
    loss: tuple[tuple[int, float], ...]
    val_loss: tuple[tuple[int, float], ...]
    figures: tuple[tuple[str, float], ...]
    lr: float | None
    tokens_per_s: float | None
    checkpoints: tuple[int, ...]
    events: tuple[Event, ...]
    chart: str = "loss"
    curves: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    """What else can be drawn over the steps: probes, drift, rate, tokens/s, as far as the run has them."""

    @property
    def run(self) -> Run:
        return self.status.run


@dataclass(frozen=True, slots=True)
class RunCheck:
    """Whether a run could start: what it would be trained on, its time and memory, and the problems found."""

    preflight: Preflight
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class NamedPair:
    """A pair that a check names, and why: the end of the check's sentence."""

    pair: Pair
    why: str


def named_pairs(store: Store, check: RunCheck) -> tuple[NamedPair, ...]:
    """The pairs that the problems and notes of a check name, each once; without those deleted meanwhile."""
    from engine.training.preflight import pairs_named

    found: dict[str, NamedPair] = {}
    for message in (*check.preflight.problems, *check.preflight.notes):
        for uid in pairs_named(message):
            if uid not in found and (pair := next(iter(pairs.begin_with(store, uid)), None)) is not None:
                found[uid] = NamedPair(pair, _SUBJECT.sub("", message))
    return tuple(found.values())


class RunReader:
    """What the Train screen knows of the runs. Each call reads only what changed since the last one.

    The list reads one short row of each run, and the rest of those that changed or are live; a run's page reads the
    numbers written since the last time. May be called from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[tuple[Any, ...], RunRow]] = {}
        self._curves: RunCurves | None = None

    def all_rows(self, store: Store) -> list[RunRow]:
        """Every run, newest first."""
        with self._lock:
            kept, self._rows = self._rows, {}
            for uid, stamp in runs.stamps(store).items():
                before = kept.get(uid)
                if before is not None and before[0] == stamp and before[1].run.state in END_STATES:
                    self._rows[uid] = before
                elif (row := _row(store, stamp)) is not None:
                    self._rows[uid] = (stamp, row)
            return [row for _, row in self._rows.values()]

    def report(self, store: Store, name: str, after_event: int = 0) -> RunReport | None:
        """One run now, with the events after `after_event`; None when it was removed meanwhile."""
        try:
            status = run_control.status(store, name)
            snapshot = datasets.snapshot(store, status.run.snapshot)
        except NotFound:
            return None
        run = status.run
        with self._lock:
            curves = self._read_curves(store, run)
        lr, speed = curves.get("lr"), curves.get("tokens_per_s")
        objective = OBJECTIVES.get(run.config.get("objective", FIELDS["objective"].default))
        labels, chart = (objective.metrics, objective.chart) if objective else ({}, "loss")
        labels = {**labels, **{name: label for name in curves if (label := watched_label(name))}}
        figures = ((label, _at(curves.get(metric, []), run.step)) for metric, label in labels.items())
        drawn = {**{name: watched_label(name) for name in curves if watched_label(name)}, **ALWAYS}
        return RunReport(
            status,
            snapshot.dataset or "",
            snapshot.rows,
            tuple(curves.get(chart, ())),
            tuple(curves.get(f"val_{chart}", ())),
            tuple((label, value) for label, value in figures if value is not None),
            lr[-1][1] if lr else None,
            speed[-1][1] if speed else None,
            tuple(c.step for c in runs.checkpoints(store, run.id)),
            tuple(runs.events(store, run.id, after_id=after_event, limit=LOG_LINES)),
            chart,
            {label: tuple(curves[name]) for name, label in drawn.items() if curves.get(name)},
        )

    def _read_curves(self, store: Store, run: Run) -> dict[str, list[tuple[int, float]]]:
        """Points of each metric in order of steps; those of the run that was read last are kept."""
        if self._curves is None or self._curves.run_id != run.id:
            self._curves = RunCurves(run.id)
        self._curves.read(store)
        return self._curves.by_step()


def _at(points: list[tuple[int, float]], step: int) -> float | None:
    """The last value up to a step: a resumed run has not yet overwritten the later ones."""
    return next((value for at, value in reversed(points) if at <= step), None)


def _row(store: Store, stamp: tuple[Any, ...]) -> RunRow | None:
    """The list's row of one run; None when it was removed meanwhile."""
    try:
        status = run_control.status(store, stamp[1])
    except NotFound:
        return None
    return RunRow(status, tuple(c.step for c in runs.checkpoints(store, status.run.id)))


@dataclass(frozen=True, slots=True)
class Choices:
    """What a new run can be made of."""

    datasets: tuple[Dataset, ...]
    models: tuple[str, ...]
    names: frozenset[str]


def before(store: Store, run: Run) -> str:
    """The model that a run started from: the adapter that it continued, if that is still there, else its base."""
    try:
        return refs.resolve(store, run.config["on"]).ref
    except (KeyError, TuningforkError):
        return run.base


def choices(store: Store) -> Choices:
    """The datasets, the base models and the run names that are taken."""
    adapters = {model.ref for model in kept_models.all_models(store) if model.kind == "adapter"}
    models = [ref for ref in refs.known(store) if refs.Ref.read(ref).can_be_base and ref not in adapters]
    return Choices(tuple(datasets.all_datasets(store)), tuple(models), run_control.names(store))


def check(store: Store, dataset: str, config: TrainConfig, on_line: Callable[[str], None]) -> RunCheck:
    """Read the dataset as a run would, without freezing it. Prepares the model first when that was never done.

    Raises NotFound, BadInput, NoSpace or WorkerError.
    """
    from engine.training.calibration import calibrated
    from engine.training.estimate import estimate, machine
    from engine.training.model_check import check_model, with_method
    from engine.training.model_facts import model_facts
    from engine.training.preflight import ROW_FIELDS, template_of
    from engine.training.watched_probes import read

    base = refs.resolve(store, config.model)
    config, continues = continuing.settled(store, config)
    config = rewards.settled(store, config)
    config, why = with_method(config, base)
    check_model(base, config)
    folder: Path = run_control.prepare(store, config.model, on_line=on_line)
    model_notes = check_model(base, config, folder)
    rows, left_out = rewards.rewarded(store, config, rows_of(store, dataset, config.objective))
    reads = tuple(getattr(config, name) for name in ROW_FIELDS)
    key = (folder, config.objective, reads, tuple((row.content_hash, row.split) for row in rows))
    if key not in _checked:  # other settings need another estimate, but the tokens stay the same
        _checked.clear()
        _checked[key] = OBJECTIVES[config.objective].preflight(rows, template_of(folder, config), config)
    _, not_asked = read(store, config.watch, rows)
    before = [*filter(None, [continues, rewards.said(config)]), *left_out, *model_notes, *not_asked]
    found = replace(_checked[key], notes=[*before, *_checked[key].notes])
    here = machine()
    guess = replace(estimate(config, found, model_facts(folder), here), why=why)
    return RunCheck(found, calibrated(store, guess, config, here))


_checked: dict[tuple[Any, ...], Preflight] = {}


def launch(store: Store, dataset: str, config: TrainConfig, name: str) -> Run:
    """Freeze, queue and start; the run as it then stands."""
    run = run_control.submit(store, config, dataset, name)
    run_control.start(store, run.name)
    return runs.get(store, run.name)
