"""Preferences and feedback as rows of datasets, to list, search, check and remove like pairs.
They are made in votes.py and feedback.py; those from votes stay with their votes, and are not listed here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import get_args

from store import datasets, search_text
from store.db import Store
from store.edits import recording
from store.errors import BadInput
from store.records import PreferenceKind, PreferenceRow, Split

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


def _row_from(row: sqlite3.Row) -> PreferenceRow:
    values = {name: row[name] for name in PreferenceRow.__dataclass_fields__}
    return PreferenceRow(**values | {"prompt": json.loads(row["prompt"]), "source": json.loads(row["source"])})
