"""Preferences and feedback as rows of datasets, to list, search, check, remove and freeze like pairs.
They are made in votes.py and feedback.py; those from votes stay with their votes, and are not listed here."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import get_args

from store import datasets, search_text
from store.canon import canonical, sha256
from store.db import Store, now
from store.edits import recording
from store.errors import BadInput, UserError
from store.records import PreferenceKind, PreferenceRow, Snapshot, SnapshotRow, Split

_ROWS = (
    "SELECT 'preference' AS kind, p.id, p.uid, p.prompt, p.chosen, p.rejected, p.source, p.split, p.dataset_id,"
    " p.created_at FROM imported_preference p",
    "SELECT 'feedback', f.id, f.uid, f.prompt, iif(f.good, f.answer, NULL), iif(f.good, NULL, f.answer), f.source,"
    " f.split, f.dataset_id, f.created_at FROM feedback f",
)


def search(
    store: Store,
    text: str = "",
    *,
    dataset: str | None = None,
    kind: PreferenceKind | None = None,
    split: Split | None = None,
    limit: int = 0,
) -> list[PreferenceRow]:
    """Preferences and feedback that match, newest first; `text` as in `search.search_ids`; `limit` 0 for all."""
    if kind not in (None, *get_args(PreferenceKind)):
        raise BadInput(f"{kind!r} is not a kind of preference row.", where="kind", todo="Use preference or feedback.")
    dataset_id = datasets.get_id(store, dataset) if dataset is not None else None
    match = search_text.expression(text)
    preference, feedback = _ROWS
    if match is not None:
        preference += " WHERE p.id IN (SELECT rowid FROM preference_fts WHERE preference_fts MATCH ?1)"
        feedback += " WHERE f.id IN (SELECT rowid FROM feedback_fts WHERE feedback_fts MATCH ?1)"
    sql = (
        f"SELECT r.*, d.name AS dataset FROM ({preference} UNION ALL {feedback}) r"
        " LEFT JOIN dataset d ON d.id = r.dataset_id"
        " WHERE (?2 IS NULL OR r.dataset_id = ?2) AND (?3 IS NULL OR r.kind = ?3) AND (?4 IS NULL OR r.split = ?4)"
        " ORDER BY r.created_at DESC, r.uid DESC LIMIT ?5"
    )
    return [_row_from(row) for row in store.rows(sql, (match, dataset_id, kind, split, limit or -1))]


def begin_with(store: Store, uid: str) -> list[PreferenceRow]:
    """The row with this uid; else at most three of those whose uid begins with it (4 characters or more)."""
    sql = (
        f"SELECT r.*, d.name AS dataset FROM ({' UNION ALL '.join(_ROWS)}) r"
        " LEFT JOIN dataset d ON d.id = r.dataset_id WHERE r.uid = ?1 OR (length(?1) >= 4 AND r.uid >= ?1 AND"
        " r.uid < ?1 || '~') ORDER BY r.uid <> ?1, r.uid LIMIT 3"
    )
    found = [_row_from(row) for row in store.rows(sql, (uid,))]
    return found[:1] if found and found[0].uid == uid else found


def remove(store: Store, uids: Sequence[str], *, actor: str = "user") -> int:
    """Removes preferences and feedback as one edit; returns how many there were."""
    with store.write() as conn, recording(store, "remove preferences and feedback", actor):
        return sum(
            conn.execute(
                f"DELETE FROM {table} WHERE uid IN (SELECT value FROM json_each(?))", (json.dumps(list(uids)),)
            ).rowcount
            for table in ("imported_preference", "feedback")
        )


def rows_of(store: Store, dataset: str, kind: PreferenceKind) -> list[SnapshotRow]:
    """A dataset's preferences or feedback as a snapshot holds them: ordered by split and content."""
    table = "imported_preference" if kind == "preference" else "feedback"
    sql = f"SELECT * FROM {table} WHERE dataset_id = ? ORDER BY split, content_hash, uid"
    found = store.rows(sql, (datasets.get_id(store, dataset),))
    return [_frozen(ord, kind, row) for ord, row in enumerate(found)]


def freeze(store: Store, dataset: str, kind: PreferenceKind) -> Snapshot:
    """Freezes a dataset's preferences or feedback by content. The same content and splits give the snapshot that is
    there already. UserError when none of them is to train on.
    """
    with store.write() as conn:
        rows = rows_of(store, dataset, kind)
        if not any(row.split == "train" for row in rows):
            raise _nothing_to_freeze(store, dataset, kind, len(rows))
        digest = sha256(canonical([(row.split, row.content_hash, row.kind) for row in rows]))
        if not store.scalar("SELECT 1 FROM snapshot WHERE hash = ?", (digest,)):
            conn.executemany(
                "INSERT INTO content (hash, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(row.content_hash, canonical(_body(row))) for row in rows],
            )
            splits = dict(Counter(row.split for row in rows))
            snapshot_id = conn.execute(
                "INSERT INTO snapshot (hash, kind, dataset_id, n_rows, splits, created_at)"
                " VALUES (?, 'preference', ?, ?, ?, ?)",
                (digest, datasets.get_id(store, dataset), len(rows), canonical(splits), now()),
            ).lastrowid
            conn.executemany(
                "INSERT INTO snapshot_row (snapshot_id, ord, split, content_hash, kind, source)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(snapshot_id, row.ord, row.split, row.content_hash, kind, canonical(row.source)) for row in rows],
            )
        return datasets.snapshot(store, digest)


def kind_of(store: Store, snapshot: Snapshot) -> PreferenceKind | None:
    """What a snapshot was made of: preferences or feedback, None for pairs."""
    found = store.scalar("SELECT kind FROM snapshot_row WHERE snapshot_id = ? LIMIT 1", (snapshot.id,))
    return found if found in get_args(PreferenceKind) else None


def _nothing_to_freeze(store: Store, dataset: str, kind: PreferenceKind, many: int) -> UserError:
    rows = "preference" if kind == "preference" else "judged answer"
    if many:
        what, todo = f"None of its {many} {rows}s is in the train split.", "Import them with --split train"
    else:
        what = f"The dataset has no {rows} to learn from."
        todo = f"Import a file with {rows}s: tuningfork data import FILE --dataset {dataset}"
        if kind == "preference":
            todo += ", or take those of your votes: tuningfork votes collect --dataset NAME"
    return UserError(what, where=f"dataset {dataset}", todo=f"{todo}.")


def _frozen(ord: int, kind: PreferenceKind, row: sqlite3.Row) -> SnapshotRow:
    answer = row["chosen"] if kind == "preference" else row["answer"]
    return SnapshotRow(
        ord,
        row["split"],
        kind,
        [*json.loads(row["prompt"]), {"role": "assistant", "content": answer}],
        row["content_hash"],
        source=json.loads(row["source"]),
        rejected=row["rejected"] if kind == "preference" else None,
        good=bool(row["good"]) if kind == "feedback" else None,
    )


def _body(row: SnapshotRow) -> dict[str, object]:
    """What a snapshot keeps of a row by its content hash: what differs from a pair's messages has a name."""
    judged = {"rejected": row.rejected} if row.kind == "preference" else {"good": row.good}
    return {"messages": row.messages, **judged}


def _row_from(row: sqlite3.Row) -> PreferenceRow:
    values = {name: row[name] for name in PreferenceRow.__dataclass_fields__}
    return PreferenceRow(**values | {"prompt": json.loads(row["prompt"]), "source": json.loads(row["source"])})
