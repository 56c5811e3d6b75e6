"""Edits: one thing that was done to the data, however many rows it touched, and the unit of undo.
Pairs keep a revision for each edit, and what they were before it (schema_past); rows of datasets, memberships,
preferences and feedback are noted by triggers (schema_edits).

    with edits.recording(store, "split support"):   # whatever is written inside is one edit
        ...

Undo goes from the newest edit to the oldest. It is itself an edit, so that redo is the undo of an undo. An edit marked
`permanent` cannot be undone, and undo does not reach past it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from store.db import Store, now
from store.errors import Conflict
from store.records import Edit

PAIR_STATE = "kind, system, history, question, answer, status, tags, source, content_hash, deleted_at"
"""The columns of a pair that belong to a revision."""

_KEYS = {
    "dataset": ("id",),
    "dataset_pair": ("dataset_id", "pair_id"),
    "imported_preference": ("id",),
    "feedback": ("id",),
    "snapshot": ("id",),
}
"""The tables that triggers watch, and the columns that name a row of each."""

_STANDING = "FROM edit WHERE kind <> 'undo' AND undone_by IS NULL"


@contextmanager
def recording(store: Store, label: str, actor: str = "user", *, permanent: bool = False) -> Iterator[int]:
    """One edit around all that is written inside; gives its id. Inside another edit it joins that one.

    An edit that changed nothing leaves no trace, unless it is `permanent`: that one says that something was done which
    undo cannot bring back (say so before it is done), and undo stops at it.
    """
    with store.write() as conn:
        outer = conn.execute("SELECT edit_id FROM open_edit").fetchone()
        if outer:
            if permanent:
                conn.execute("UPDATE edit SET permanent = 1 WHERE id = ?", (outer[0],))
            yield int(outer[0])
            return
        with _open(conn, "do", actor, label, permanent=permanent) as edit_id:
            yield edit_id


@contextmanager
def _open(
    conn: sqlite3.Connection, kind: str, actor: str, label: str, *, undoes: int | None = None, permanent: bool = False
) -> Iterator[int]:
    sql = "INSERT INTO edit (kind, actor, label, undoes, permanent, created_at) VALUES (?, ?, ?, ?, ?, ?)"
    edit_id = int(conn.execute(sql, (kind, actor, label, undoes, permanent, now())).lastrowid or 0)
    conn.execute("INSERT INTO open_edit (one, edit_id) VALUES (1, ?)", (edit_id,))
    yield edit_id
    conn.execute("DELETE FROM open_edit")
    sql = "SELECT count(DISTINCT pair_id) FROM pair_revision WHERE edit_id = ?"
    pairs = conn.execute(sql, (edit_id,)).fetchone()[0]
    sql = "SELECT table_name, sum(n) FROM edit_change WHERE edit_id = ? GROUP BY 1"
    changed = dict(conn.execute(sql, (edit_id,)).fetchall())
    if pairs or changed or permanent:
        rows = max(pairs, changed.get("dataset_pair", 0))
        rows += changed.get("imported_preference", 0) + changed.get("feedback", 0)
        conn.execute("UPDATE edit SET pairs = ? WHERE id = ?", (rows, edit_id))
    else:
        conn.execute("DELETE FROM edit WHERE id = ?", (edit_id,))


def keep_revisions(conn: sqlite3.Connection, edit_id: int, ids: list[int]) -> None:
    """Notes the revision that each of these pairs has now as made by the edit."""
    conn.execute(
        "INSERT INTO pair_revision (pair_id, revision, edit_id)"
        " SELECT id, revision, ? FROM pair WHERE id IN (SELECT value FROM json_each(?))",
        (edit_id, json.dumps(ids)),
    )


def join_range(conn: sqlite3.Connection, dataset_id: int, split: str, first: int, last: int) -> None:
    """Makes the new pairs with the ids `first` to `last` members of a dataset, as one change of the open edit.

    They are pinned unless they are in train. Every id must be that of a pair which is in no dataset yet.
    """
    member = {"dataset_id": dataset_id, "split": split, "pinned": int(split != "train"), "first": first, "last": last}
    _write_range(conn, None, member)


def _write_range(conn: sqlite3.Connection, before: dict[str, object] | None, after: dict[str, object] | None) -> None:
    """Adds (`before` None) or takes out (`after` None) the members with neighbouring ids, and notes them together."""
    conn.execute("UPDATE open_edit SET by_range = 1")
    if before is None:
        sql = (
            "INSERT INTO dataset_pair (dataset_id, pair_id, split, pinned)"
            " SELECT :dataset_id, id, :split, :pinned FROM pair WHERE id BETWEEN :first AND :last"
        )
    else:
        sql = "DELETE FROM dataset_pair WHERE dataset_id = :dataset_id AND pair_id BETWEEN :first AND :last"
    n = conn.execute(sql, before or after or {}).rowcount
    conn.execute("UPDATE open_edit SET by_range = 0")
    conn.execute(
        "INSERT INTO edit_change (edit_id, table_name, before, after, n)"
        " VALUES ((SELECT edit_id FROM open_edit), 'dataset_pair', ?, ?, ?)",
        (before and json.dumps(before), after and json.dumps(after), n),
    )


def undo(store: Store, actor: str = "user") -> Edit | None:
    """Undoes the newest edit that stands; returns the edit that does it, or None when there is nothing left.

    Conflict when that edit cannot be undone: undo does not reach past it.
    """
    with store.write() as conn:
        target = conn.execute(f"SELECT id, label, permanent {_STANDING} ORDER BY id DESC LIMIT 1").fetchone()
        if target and target["permanent"]:
            raise Conflict(
                f"The last change cannot be undone: {target['label']}.",
                todo="Undo does not reach past it. See what was done with: tuningfork data undo --list",
            )
        return _revert(store, conn, target, "undo", actor) if target else None


def redo(store: Store, actor: str = "user") -> Edit | None:
    """Redoes what was undone last, unless something was changed since; returns the edit that does it, or None."""
    with store.write() as conn:
        sql = (
            "SELECT id, label FROM edit WHERE kind = 'undo' AND undone_by IS NULL"
            " AND id > (SELECT coalesce(max(id), 0) FROM edit WHERE kind = 'do') ORDER BY id DESC LIMIT 1"
        )
        target = conn.execute(sql).fetchone()
        return _revert(store, conn, target, "redo", actor) if target else None


def undoable(store: Store, limit: int = 50) -> list[Edit]:
    """What undo would undo, newest first. A permanent edit is the last of the list: undo stops there."""
    last = f"SELECT coalesce(max(id), 0) {_STANDING} AND permanent"
    sql = f"SELECT * {_STANDING} AND id >= ({last}) ORDER BY id DESC LIMIT ?"
    return [_edit_from(row) for row in store.rows(sql, (limit,))]


def edits(store: Store, limit: int = 50) -> list[Edit]:
    """All that was done to the data, undos and redos too, newest first."""
    return [_edit_from(row) for row in store.rows("SELECT * FROM edit ORDER BY id DESC LIMIT ?", (limit,))]


def _revert(store: Store, conn: sqlite3.Connection, target: sqlite3.Row, kind: str, actor: str) -> Edit:
    """Gives every row that the target edit touched the state before it, as a new edit."""
    conn.execute("PRAGMA defer_foreign_keys=ON")  # rows come back in any order; checked at the commit
    with _open(conn, kind, actor, target["label"], undoes=target["id"]) as edit_id:
        _revert_pairs(store, conn, edit_id, target["id"])
        sql = "SELECT table_name, before, after FROM edit_change WHERE edit_id = ? ORDER BY id DESC"
        for changes in store.batches(sql, (target["id"],)):
            for table, before, after in changes:
                _write_back(conn, table, before and json.loads(before), after and json.loads(after))
        conn.execute("UPDATE edit SET undone_by = ? WHERE id = ?", (edit_id, target["id"]))
    return _edit_from(store.rows("SELECT * FROM edit WHERE id = ?", (edit_id,))[0])


def _revert_pairs(store: Store, conn: sqlite3.Connection, edit_id: int, target_id: int) -> None:
    """Gives each pair of the target edit the state before it, as a new revision; before the first it is deleted.

    Some thousands at a time: what a statement changes is in memory until it is done.
    """
    back = ", ".join(f"{name} = iif(did.made, pair.{name}, did.{name})" for name in PAIR_STATE.split(", ")[:-1])
    past = ", ".join(f"past.{name}" for name in PAIR_STATE.split(", "))
    touched = "FROM pair_revision WHERE edit_id = ?2 AND pair_id BETWEEN ?3 AND ?4"
    at = now()
    for rows in store.batches("SELECT DISTINCT pair_id FROM pair_revision WHERE edit_id = ? ORDER BY 1", (target_id,)):
        bounds = target_id, rows[0][0], rows[-1][0]
        conn.execute(
            f"UPDATE pair SET revision = pair.revision + 1, {back}, deleted_at = iif(did.made, ?1, did.deleted_at),"
            f" updated_at = ?1 FROM (SELECT r.pair_id, past.pair_id IS NULL AS made, {past}"
            f"   FROM (SELECT pair_id, min(revision) AS first {touched} GROUP BY 1) r"
            "   LEFT JOIN pair_past past ON past.pair_id = r.pair_id AND past.revision = r.first - 1) did"
            " WHERE did.pair_id = pair.id",
            (at, *bounds),
        )
        conn.execute(
            "INSERT INTO pair_revision (pair_id, revision, edit_id) SELECT p.id, p.revision, ?1"
            f" FROM (SELECT DISTINCT pair_id {touched}) did JOIN pair p ON p.id = did.pair_id",
            (edit_id, *bounds),
        )


def _write_back(
    conn: sqlite3.Connection, table: str, before: dict[str, object] | None, after: dict[str, object] | None
) -> None:
    """Gives one row, or a range of members, the state `before`, when it is in the state `after`. None: no row."""
    if "first" in (before or after or {}):
        _write_range(conn, after, before)
        return
    where = " AND ".join(f"{key} = :{key}" for key in _KEYS[table])
    if before is None:
        conn.execute(f"DELETE FROM {table} WHERE {where}", after or {})
    elif after is None:
        names = ", ".join(before)
        conn.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in before)})", before)
    else:
        conn.execute(f"UPDATE {table} SET {', '.join(f'{name} = :{name}' for name in before)} WHERE {where}", before)


def _edit_from(row: sqlite3.Row) -> Edit:
    return Edit(
        row["id"], row["actor"], row["label"], row["undoes"], row["created_at"], row["pairs"], bool(row["permanent"])
    )
