"""A diagnosis of a run of the store, and the run that its fix describes. Reads the store and the base's template; the
causes themselves are diagnosis.py's."""

from __future__ import annotations

from engine.models import refs
from engine.training import run_control
from engine.training.config import TrainConfig
from engine.training.diagnosis import Evidence, Fix, RunDiagnosis, diagnose
from engine.training.objectives import OBJECTIVES
from engine.training.preflight import template_of
from store import datasets, pairs, runs
from store.canon import new_uid
from store.db import Store
from store.errors import Conflict, Unsupported
from store.records import END_STATES, PairDraft, Run, SnapshotRow, Turn, state_word

_NO_LIMIT = 1_000_000  # tokens: no row is longer


def diagnosis_of(store: Store, name: str) -> RunDiagnosis:
    """Why a run came out as it did. Conflict while it is live; NotFound when its base is gone."""
    run = runs.get(store, name)
    if run.state not in END_STATES:
        what = f"Run {name} is {state_word(run.state)}: it can be diagnosed when it has ended."
        raise Conflict(what, todo=f"Watch it: tuningfork runs watch {name}")
    config = TrainConfig.from_json(run.config)
    if OBJECTIVES[config.objective].needs != "pairs":
        what = f"Run {name} was trained towards {config.objective}; only runs on pairs are diagnosed."
        raise Unsupported(what, todo=f"See its numbers: tuningfork runs show {name}")
    rows = datasets.snapshot_rows(store, run.snapshot)
    folder = run_control.prepare(store, refs.resolve(store, run.base).ref)
    template, read = template_of(folder, config), OBJECTIVES[config.objective].preflight
    found = read(rows, template, config)
    whole = read(rows, template, config.replace(max_length=_NO_LIMIT)) if found.truncated or found.masked else found
    metrics: dict[str, list[tuple[int, float]]] = {}
    for metric in runs.metrics(store, run.id):
        if metric.value is not None:
            metrics.setdefault(metric.name, []).append((metric.step, metric.value))
    return diagnose(Evidence(config, rows, found, metrics, run.step, whole.longest))


def start_fix(store: Store, name: str, fix: Fix) -> Run:
    """Queue the run that a fix describes, and start the queue; the run as it then stands.

    A fix of rows makes a dataset of the rows that stay; the run's own dataset and its pairs are not changed.
    """
    run = runs.get(store, name)
    config = TrainConfig.from_json(run.config).replace(**fix.changes)
    new = run_control.free_name(f"{name}-fix", run_control.names(store))
    data = run.snapshot
    if fix.without or fix.no_system:
        data = _fixed_data(store, new, datasets.snapshot_rows(store, run.snapshot), fix)
    made = run_control.submit(store, config, data, new)
    run_control.start(store, made.name)
    return runs.get(store, made.name)


def _fixed_data(store: Store, name: str, rows: list[SnapshotRow], fix: Fix) -> str:
    """A dataset of the rows that stay; its name."""
    known = {each.name for each in datasets.all_datasets(store)}
    dataset = name if name not in known else f"{name}-{new_uid()[:6]}"
    for split in ("train", "val", "test"):
        drafts = [_draft(row, fix) for row in rows if row.split == split and row.ord not in fix.without]
        if drafts:
            pairs.create_many(store, drafts, dataset=dataset, split=split)
    return dataset


def _draft(row: SnapshotRow, fix: Fix) -> PairDraft:
    system = [m["content"] for m in row.messages[:1] if m["role"] == "system"]
    turns = row.messages[len(system) :]
    return PairDraft(
        question=turns[-2]["content"],
        answer=turns[-1]["content"],
        history=tuple(Turn.of(turn) for turn in turns[:-2]),
        system=system[0] if system and not fix.no_system else "",
        kind="identity" if row.kind == "identity" else "instruction",
        status="ready",
        source=row.source,
    )
