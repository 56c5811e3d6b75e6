"""Rows of the database as records. Reads no table itself."""

from __future__ import annotations

import json
import sqlite3

from store.records import Pair, Turn


def pair_from(row: sqlite3.Row) -> Pair:
    """A `Pair` from a row that has its columns."""
    history, tags, source = (
        row["history"],
        row["tags"],
        row["source"],
    )  # mostly empty: parsing those would double the time
    turns = tuple(Turn.of(t) for t in json.loads(history)) if history != "[]" else ()
    return Pair(
        id=row["id"],
        uid=row["uid"],
        revision=row["revision"],
        kind=row["kind"],
        system=row["system"],
        history=turns,
        question=row["question"],
        answer=row["answer"],
        status=row["status"],
        tags=tuple(json.loads(tags)) if tags != "[]" else (),
        source=json.loads(source) if source != "{}" else {},
        content_hash=row["content_hash"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
    )
