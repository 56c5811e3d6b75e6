"""What the Train screen asks the store about runs, and the checks before a new one, each in one call.
Runs in threads of the bridge; knows no widget."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.models import refs
from engine.training import run_control
from engine.training.config import TrainConfig
from engine.training.run_control import RunStatus
from store import datasets, runs
from store.db import Store
from store.errors import NotFound
from store.records import Dataset, Event, Run, SnapshotRow

if TYPE_CHECKING:
    from engine.training.estimate import Estimate
    from engine.training.preflight import Preflight

LOG_LINES = 500


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
    """Everything that one run's page shows. Points are (step, value); `events` are those after the last one seen."""

    status: RunStatus
    dataset: str
    rows: int
    loss: tuple[tuple[int, float], ...]
    val_loss: tuple[tuple[int, float], ...]
    lr: float | None
    tokens_per_s: float | None
    checkpoints: tuple[int, ...]
    events: tuple[Event, ...]

    @property
    def run(self) -> Run:
        return self.status.run


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a run could start: what it would learn from, how long it would take, and what stands against it."""

    preflight: Preflight
    estimate: Estimate


def all_rows(store: Store) -> list[RunRow]:
    """Every run, newest first."""
    return [
        RunRow(run_control.status(store, run.name), tuple(c.step for c in runs.checkpoints(store, run.id)))
        for run in runs.all_runs(store)
    ]


def report(store: Store, name: str, after_event: int = 0) -> RunReport | None:
    """One run now; None when it was removed meanwhile."""
    try:
        status = run_control.status(store, name)
        snapshot = datasets.snapshot(store, status.run.snapshot)
    except NotFound:
        return None
    run = status.run
    curves: dict[str, list[tuple[int, float]]] = {}
    for metric in runs.metrics(store, run.id, names=["loss", "val_loss", "lr", "tokens_per_s"]):
        if metric.value is not None:
            curves.setdefault(metric.name, []).append((metric.step, metric.value))
    lr, speed = curves.get("lr"), curves.get("tokens_per_s")
    return RunReport(
        status,
        snapshot.dataset or "",
        snapshot.rows,
        tuple(curves.get("loss", ())),
        tuple(curves.get("val_loss", ())),
        lr[-1][1] if lr else None,
        speed[-1][1] if speed else None,
        tuple(c.step for c in runs.checkpoints(store, run.id)),
        tuple(runs.events(store, run.id, after_id=after_event, limit=LOG_LINES)),
    )


@dataclass(frozen=True, slots=True)
class Choices:
    """What a new run can be made of."""

    datasets: tuple[Dataset, ...]
    models: tuple[str, ...]
    names: frozenset[str]


def choices(store: Store) -> Choices:
    """The datasets, the base models and the run names that are taken."""
    models = [ref for ref in refs.known(store) if refs.Ref.read(ref).can_be_base]
    return Choices(
        tuple(datasets.all_datasets(store)), tuple(models), frozenset(run.name for run in runs.all_runs(store))
    )


def free_name(dataset: str, taken: frozenset[str]) -> str:
    """A name for a run that says what it learnt: ember-1, ember-2 …"""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset).strip("-")[:50] or "run"
    return next(name for n in itertools.count(1) if (name := f"{stem}-{n}") not in taken)


def check(store: Store, dataset: str, config: TrainConfig, on_line: Callable[[str], None]) -> Check:
    """Read the dataset as a run would, without freezing it. Prepares the model first when that was never done.

    Raises NotFound, BadInput, NoSpace or WorkerError.
    """
    from engine.models.chat_template import ChatTemplate
    from engine.training.estimate import estimate, machine, model_facts
    from engine.training.preflight import check as preflight

    folder: Path = run_control.prepare(store, config.model, on_line=on_line)
    rows = rows_of(store, dataset)
    key = (folder, config.max_length, tuple((row.content_hash, row.split) for row in rows))
    if key not in _checked:  # a changed number asks for another estimate, not for all tokens again
        _checked.clear()
        _checked[key] = preflight(rows, ChatTemplate.load(folder), config)
    found = _checked[key]
    return Check(found, estimate(config, found, model_facts(folder), machine()))


_checked: dict[tuple[Path, int, tuple[tuple[str, str], ...]], Preflight] = {}


def rows_of(store: Store, dataset: str) -> list[SnapshotRow]:
    """The ready pairs of a dataset as a snapshot would hold them."""
    return [
        SnapshotRow(n, split, pair.kind, pair.training_messages(), pair.content_hash, pair.uid, pair.revision)
        for n, (pair, split) in enumerate(datasets.members(store, dataset))
    ]


def launch(store: Store, dataset: str, config: TrainConfig, name: str) -> Run:
    """Freeze, queue and start; the run as it then stands."""
    run = run_control.submit(store, config, dataset, name)
    run_control.start(store, run.name)
    return runs.get(store, run.name)
