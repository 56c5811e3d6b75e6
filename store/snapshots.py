"""Snapshots after they were frozen: which there are, what differs from another or from today, files and restoring.
Freezing is in datasets.py; nothing here changes a snapshot."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from store import datasets, pairs, preference_rows
from store.db import Store
from store.edits import recording
from store.errors import Conflict, NotFound, Unsupported
from store.formats.writing import write_json
from store.records import KINDS, Kind, PlacedDraft, PreferenceKind, Snapshot, SnapshotRow, Split, Turn


@dataclass(frozen=True, slots=True)
class SnapshotUse:
    """A snapshot with the names of the runs that were trained on it, the newest first."""

    snapshot: Snapshot
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnapshotDiff:
    """What became of the rows from one snapshot to another, or to a dataset as it is today (then `after` is None).

    `changed` holds rows of one pair (or, without pairs, of one question) with other content, split or kind, before and
    after; `same` counts the rows that did not change.
    """

    before: Snapshot
    after: Snapshot | None
    added: list[SnapshotRow]
    removed: list[SnapshotRow]
    changed: list[tuple[SnapshotRow, SnapshotRow]]
    same: int
    dataset: str | None = None
    """The dataset whose rows of today are the other side."""


def all_snapshots(store: Store, dataset: str | None = None) -> list[SnapshotUse]:
    """Every snapshot, or those of one dataset, the newest first, with the runs that used it."""
    dataset_id = None if dataset is None else datasets.get_id(store, dataset)
    sql = (
        "SELECT s.hash, coalesce((SELECT json_group_array(name) FROM"
        " (SELECT name FROM run r WHERE r.snapshot_id = s.id ORDER BY r.id DESC)), '[]') AS runs"
        " FROM snapshot s WHERE ?1 IS NULL OR s.dataset_id = ?1 ORDER BY s.id DESC"
    )
    return [
        SnapshotUse(datasets.snapshot(store, row["hash"]), tuple(json.loads(row["runs"])))
        for row in store.rows(sql, (dataset_id,))
    ]


def diff(store: Store, before: str, after: str) -> SnapshotDiff:
    """What differs between two snapshots, by hash or its beginning. NotFound for one that there is not.

    Rows with the same content, split and kind are the same. Of the others, rows of one pair are changed, then rows that
    ask one question; what is left was added or removed.
    """
    one, two = datasets.snapshot(store, before), datasets.snapshot(store, after)
    old, new = (datasets.snapshot_rows(store, each.hash) for each in (one, two))
    return SnapshotDiff(one, two, *_compared(old, new))


def diff_today(store: Store, before: str, dataset: str | None = None) -> SnapshotDiff:
    """What differs between a snapshot and a dataset as it would be frozen today, by default the one it was made of.

    NotFound when there is no such snapshot or dataset, or when the snapshot's own was removed.
    """
    one = datasets.snapshot(store, before)
    name = dataset or one.dataset
    if name is None:
        raise NotFound(
            "The dataset that this snapshot was made of was removed.",
            where=f"snapshot {one.hash[:12]}",
            todo="Compare it with another dataset (--dataset NAME), or restore it.",
        )
    new = rows_today(store, name, preference_rows.kind_of(store, one))
    return SnapshotDiff(one, None, *_compared(datasets.snapshot_rows(store, one.hash), new), dataset=name)


def rows_today(store: Store, dataset: str, kind: PreferenceKind | None = None) -> list[SnapshotRow]:
    """The rows of a dataset as a snapshot made now would hold them: its ready pairs, or its rows of the other kind."""
    if kind is not None:
        return preference_rows.rows_of(store, dataset, kind)
    return [
        SnapshotRow(
            n, split, pair.kind, pair.training_messages(), pair.content_hash, pair.uid, pair.revision, pair.source
        )
        for n, (pair, split) in enumerate(datasets.members(store, dataset))
    ]


def _compared(
    old: list[SnapshotRow], new: list[SnapshotRow]
) -> tuple[list[SnapshotRow], list[SnapshotRow], list[tuple[SnapshotRow, SnapshotRow]], int]:
    """The rows that were added, removed and changed, and how many are the same."""
    common = Counter(_whole(row) for row in old) & Counter(_whole(row) for row in new)
    same = common.total()
    old, new = _without(old, common), _without(new, common)
    changed: list[tuple[SnapshotRow, SnapshotRow]] = []
    for key in (_pair, _question):
        waiting: dict[object, list[SnapshotRow]] = defaultdict(list)
        for row in old:
            waiting[key(row)].append(row)
        left = []
        for row in new:
            found = waiting.get(key(row)) if key(row) is not None else None
            if found:
                changed.append((found.pop(0), row))
            else:
                left.append(row)
        gone = {id(before) for before, _ in changed}
        old, new = [row for row in old if id(row) not in gone], left
    return new, old, changed, same


def _whole(row: SnapshotRow) -> object:
    return row.content_hash, row.split, row.kind


def _pair(row: SnapshotRow) -> object:
    return row.pair_uid


def _question(row: SnapshotRow) -> object:
    return json.dumps(row.messages[:-1], sort_keys=True)


def _without(rows: Sequence[SnapshotRow], common: Counter[object]) -> list[SnapshotRow]:
    """The rows but as many of each sort as are common."""
    left, out = Counter(common), []
    for row in rows:
        if left[_whole(row)]:
            left[_whole(row)] -= 1
        else:
            out.append(row)
    return out


def write_file(store: Store, hash: str, path: Path, split: Split | None = None, *, overwrite: bool = False) -> int:
    """Writes the rows of a snapshot as JSON lines of messages with split and kind, and of preferences and feedback what
    was judged; returns how many. Conflict when the file is there and is not to be overwritten.
    """
    rows = datasets.snapshot_rows(store, hash, split)
    if path.exists() and not overwrite:
        raise Conflict("The file exists already.", where=str(path), todo="Choose another name, or add --overwrite.")
    return write_json(path, map(_written, rows))


def _written(row: SnapshotRow) -> dict[str, Any]:
    judged = {"rejected": row.rejected, "good": row.good}
    plain = {"messages": row.messages, "split": row.split, "kind": row.kind}
    return plain | {name: value for name, value in judged.items() if value is not None}


def restore(store: Store, hash: str, name: str, *, actor: str = "user") -> pairs.Created:
    """Makes a dataset with the content and the splits of a snapshot, as one edit; pairs that are there are not doubled.

    Conflict when there is a dataset of that name, Unsupported when the snapshot holds preferences or feedback.
    """
    frozen = datasets.snapshot(store, hash)
    if store.scalar("SELECT 1 FROM dataset WHERE name = ?", (name,)):
        raise Conflict(f"A dataset {name!r} already exists.", todo="Choose another name.")
    rows = datasets.snapshot_rows(store, frozen.hash)
    if other := next((row.kind for row in rows if row.kind not in KINDS), None):
        what = f"The snapshot holds {other} rows, and only pairs can be restored."
        raise Unsupported(what, where=f"snapshot {frozen.hash[:12]}", todo="Write it to a file: data snapshots export")
    drafts = [_draft(row, frozen.hash) for row in rows]
    with recording(store, f"restore a snapshot as {name}", actor):
        datasets.create(store, name, f"restored from the snapshot {frozen.hash[:12]}", actor=actor)
        return pairs.create_many(store, drafts, dataset=name, label=f"restore {name}", actor=actor)


def _draft(row: SnapshotRow, hash: str) -> PlacedDraft:
    turns = [Turn.of(message) for message in row.messages]
    system = turns.pop(0).content if turns[0].role == "system" else ""
    *history, asked, said = turns
    return PlacedDraft(
        asked.content,
        said.content,
        system,
        tuple(history),
        cast(Kind, row.kind),
        source=row.source or {"snapshot": hash[:12]},
        split=row.split,
    )
