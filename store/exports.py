"""Exports: what was made from a run, where it lies, and what its verification found.
Making and checking files is engine.export's."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Literal

from store.canon import canonical
from store.db import Store, now
from store.errors import Conflict, NotFound
from store.records import Export


def start(
    store: Store, *, run: str, format: str, path: str, quant: str | None = None, step: int | None = None
) -> Export:
    """Note that an export has begun: its state is working until `finish` or `fail`."""
    with store.write() as conn:
        made = conn.execute(
            "INSERT INTO export (run, run_id, step, format, quant, path, created_at)"
            " VALUES (?1, (SELECT id FROM run WHERE name = ?1), ?2, ?3, ?4, ?5, ?6)",
            (run, step, format, quant, path, now()),
        )
        return get(store, int(made.lastrowid or 0))


def finish(
    store: Store,
    export_id: int,
    *,
    sha256: str | None,
    bytes: int,
    verification: dict[str, Any] | None = None,
    state: Literal["done", "rejected"] = "done",
    path: str | None = None,
    error: str | None = None,
) -> Export:
    """End an export that was written: done when it passed its verification, else rejected; `error` says why.

    Earlier exports that lay where this one lies now are forgotten: their files were replaced.
    """
    report = canonical(verification or {})
    with store.write() as conn:
        made = _end(store, export_id, state=state, sha256=sha256, bytes=bytes, proof=report, error=error, path=path)
        conn.execute(
            "DELETE FROM export WHERE path = ? AND id <> ? AND state IN ('done', 'rejected')", (made.path, export_id)
        )
    return made


def fail(store: Store, export_id: int, error: str) -> Export:
    """End an export that left no file."""
    return _end(store, export_id, state="failed", error=error)


def _end(store: Store, export_id: int, **values: Any) -> Export:
    with store.write() as conn:
        if get(store, export_id).state != "working":
            raise Conflict(f"The export {export_id} has already ended.", todo="Start a new one.")
        given = {name: value for name, value in {**values, "ended_at": now()}.items() if value is not None}
        assign = ", ".join(f"{name} = :{name}" for name in given)
        conn.execute(f"UPDATE export SET {assign} WHERE id = :id", {**given, "id": export_id})
        return get(store, export_id)


def get(store: Store, export_id: int) -> Export:
    """The export with this id."""
    row = store.row("SELECT * FROM export WHERE id = ?", (export_id,))
    if row is None:
        raise NotFound(f"There is no export {export_id}.", todo="List them: tuningfork exports list")
    return _export_from(row)


def all_exports(store: Store, run: str | None = None) -> list[Export]:
    """Every export, newest first; of one run when it is named."""
    rows = store.rows("SELECT * FROM export WHERE ?1 IS NULL OR run = ?1 ORDER BY id DESC", (run,))
    return [_export_from(row) for row in rows]


def remove(store: Store, export_id: int) -> Export:
    """Forget an export and return what it was; the caller deletes its files."""
    with store.write() as conn:
        export = get(store, export_id)
        conn.execute("DELETE FROM export WHERE id = ?", (export_id,))
        return export


def _export_from(row: sqlite3.Row) -> Export:
    values = {key: row[key] for key in Export.__dataclass_fields__ if key != "verification"}
    return Export(**values, verification=json.loads(row["proof"]))
