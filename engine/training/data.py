"""The rows that an objective needs of a dataset: its ready pairs, its preferences or its feedback, read or frozen.
Which rows a dataset has, and what a snapshot is, is the store's."""

from __future__ import annotations

import re

from engine.training.objectives import OBJECTIVES
from engine.training.objectives.base import Data
from store import datasets, preference_rows, snapshots
from store.db import Store
from store.errors import BadInput, NotFound
from store.records import PreferenceKind, Snapshot, SnapshotRow

_KINDS: dict[Data, PreferenceKind] = {"preferences": "preference", "feedback": "feedback"}


def rows_of(store: Store, dataset: str, objective: str) -> list[SnapshotRow]:
    """The rows of a dataset as a snapshot for the objective would hold them."""
    return snapshots.rows_today(store, dataset, _KINDS.get(OBJECTIVES[objective].needs))


def freeze(store: Store, dataset: str, objective: str) -> Snapshot:
    """A snapshot of a dataset's rows for the objective. UserError when there is none of them to train on."""
    if kind := _KINDS.get(OBJECTIVES[objective].needs):
        return preference_rows.freeze(store, dataset, kind)
    return datasets.freeze(store, dataset)


def snapshot_of(store: Store, data: str | Snapshot, objective: str) -> Snapshot:
    """A dataset of that name, frozen; else the snapshot whose hash begins like that, or the one given, if its rows are
    what the objective needs. BadInput when they are not, NotFound for neither.
    """
    if isinstance(data, str):
        try:
            return freeze(store, data, objective)
        except NotFound:
            if not re.fullmatch(r"[0-9a-f]{6,64}", data):
                raise
            data = datasets.snapshot(store, data)
    needs, held = OBJECTIVES[objective].needs, preference_rows.kind_of(store, data)
    if _KINDS.get(needs) != held:
        what = {None: "pairs", "preference": "preferences", "feedback": "feedback"}[held]
        fitting = ", ".join(name for name, each in OBJECTIVES.items() if _KINDS.get(each.needs) == held)
        raise BadInput(
            f"This snapshot holds {what}; the objective {objective} trains on {needs}.",
            where=data.hash[:12],
            todo=f"Choose an objective for {what} ({fitting}), or another snapshot.",
        )
    return data
