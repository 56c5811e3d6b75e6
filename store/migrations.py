"""The shape of the store, as numbered steps that only ever grow: each says why its tables exist.
A released step is never edited; a change is a new step. `PRAGMA user_version` counts the steps that were applied."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.db import now, sqlite_utils
from store.errors import BadInput, NewerStore
from store.schema import FIRST
from store.schema_evals import EVALS
from store.schema_jobs import JOBS
from store.schema_votes import VOTES

if TYPE_CHECKING:
    from store.db import Store

APPLICATION_ID = 0x54464F4B  # "TFOK", so that `file` and we can tell a store from any other SQLite file


def _first(db: Any) -> None:
    """Everything that the loop needs: pairs, datasets, snapshots, runs, chats, votes, probes, exports."""
    _execute(db.conn, FIRST)


def _votes(db: Any) -> None:
    """Columns for what a vote is about."""
    _execute(db.conn, VOTES)


def _evals(db: Any) -> None:
    """Columns for what a judge said."""
    _execute(db.conn, EVALS)


def _jobs(db: Any) -> None:
    """Background jobs and what they say."""
    _execute(db.conn, JOBS)


STEPS: list[tuple[str, Callable[[Any], None]]] = [
    ("0001_first", _first),
    ("0002_votes", _votes),
    ("0003_evals", _evals),
    ("0004_jobs", _jobs),
]
LATEST = len(STEPS)


def version(conn: sqlite3.Connection) -> int:
    """How many steps the open store has; 0 for a new file."""
    return int(conn.execute("PRAGMA user_version").fetchone()[0])


def check(conn: sqlite3.Connection, path: Path) -> None:
    """Refuses a file that is not ours (BadInput) or that a newer version wrote (NewerStore)."""
    found = version(conn)
    owner = int(conn.execute("PRAGMA application_id").fetchone()[0])
    if owner != APPLICATION_ID and (found or conn.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()):
        raise BadInput("is a database of another program", where=str(path), todo="Choose another home with --home DIR.")
    if found > LATEST:
        raise NewerStore(
            f"the store has version {found}, this Tuningfork knows {LATEST}",
            where=str(path),
            todo="Upgrade Tuningfork, or choose another home with --home DIR.",
        )


def migrate(store: Store) -> None:
    """Brings the store up to date in one transaction, after a backup copy of an older one.

    Racing processes take turns.
    """
    with store.write() as conn:
        check(conn, store.home.database)
        found = version(conn)
        if found == LATEST:  # another process was faster
            return
        if found:  # the copy reads the last committed state while we hold the write lock
            store.backup(store.home.root / f"store-v{found}-{now()}.db")
        steps = sqlite_utils().Migrations("tuningfork")
        for name, step in STEPS:
            steps(name=name)(step)
        steps.apply(store.db)
        conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        conn.execute(f"PRAGMA user_version={LATEST}")


def _execute(conn: sqlite3.Connection, script: str) -> None:
    """Runs a script inside the open transaction; `executescript` would commit it first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            conn.execute(statement)
            statement = ""
