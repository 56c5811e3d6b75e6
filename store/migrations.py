"""The shape of the store, as numbered steps that only ever grow: each says why its tables exist.
A released step is never edited; a change is a new step. `PRAGMA user_version` counts the steps that were applied."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput, NewerStore
from store.schema import FIRST
from store.schema_choices import CHOICES
from store.schema_edits import EDITS
from store.schema_evals import EVALS
from store.schema_evaluations import EVALUATIONS
from store.schema_feedback import FEEDBACK
from store.schema_jobs import JOBS
from store.schema_not_judged import NOT_JUDGED
from store.schema_objectives import OBJECTIVES
from store.schema_past import PAST
from store.schema_preferences import PREFERENCES
from store.schema_resume import RESUME
from store.schema_review import REVIEW
from store.schema_search import SEARCH
from store.schema_unblind import UNBLIND
from store.schema_votes import VOTES
from store.sqlite import sqlite_utils

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x54464F4B  # "TFOK", so that `file` and we can distinguish a store from any other SQLite file


def _first(db: Any) -> None:
    """Everything that the loop needs: pairs, datasets, snapshots, runs, chats, votes, probes, exports."""
    _execute(db.conn, FIRST)


def _jobs(db: Any) -> None:
    """Background jobs and their messages."""
    _execute(db.conn, JOBS)


def _votes(db: Any) -> None:
    """Columns for what a vote is about."""
    _execute(db.conn, VOTES)


def _evals(db: Any) -> None:
    """Columns for a judge's scores and reasons."""
    _execute(db.conn, EVALS)


def _feedback(db: Any) -> None:
    """Judged answers beside pairs."""
    _execute(db.conn, FEEDBACK)


def _search(db: Any) -> None:
    """Search in every language, and in system texts and earlier turns. `Store.open` fills the new index."""
    _execute(db.conn, SEARCH)


def _preferences(db: Any) -> None:
    """Preferences as rows like pairs; members of a dataset whose split was given with the data are pinned."""
    _execute(db.conn, PREFERENCES)


def _edits(db: Any) -> None:
    """Every change of datasets and preferences is part of an edit, so that undo means the last change."""
    _execute(db.conn, EDITS)


def _resume(db: Any) -> None:
    """Columns for the checkpoint that a run continues from, and for failures that would repeat."""
    _execute(db.conn, RESUME)


def _objectives(db: Any) -> None:
    """A column for where a frozen preference or feedback came from."""
    _execute(db.conn, OBJECTIVES)


def _review(db: Any) -> None:
    """What was decided about findings: muted rules, pairs that are no duplicates."""
    _execute(db.conn, REVIEW)


def _evaluations(db: Any) -> None:
    """Evaluations with every answer."""
    _execute(db.conn, EVALUATIONS)


def _not_judged(db: Any) -> None:
    """Columns for answers that no judge could judge."""
    _execute(db.conn, NOT_JUDGED)


def _choices(db: Any) -> None:
    """Columns for the checkpoint that is a run's result, and for a note."""
    _execute(db.conn, CHOICES)


def _past(db: Any) -> None:
    """Each state of a pair is kept once; smaller indexes. `Store.open` fills the new search index."""
    _execute(db.conn, PAST)


def _unblind(db: Any) -> None:
    """A column for the names that gave a blind vote away."""
    _execute(db.conn, UNBLIND)


STEPS: list[tuple[str, Callable[[Any], None]]] = [
    ("0001_first", _first),
    ("0002_jobs", _jobs),
    ("0003_votes", _votes),
    ("0004_evals", _evals),
    ("0005_feedback", _feedback),
    ("0006_search", _search),
    ("0007_preferences", _preferences),
    ("0008_edits", _edits),
    ("0009_resume", _resume),
    ("0010_objectives", _objectives),
    ("0012_review", _review),
    ("0013_evaluations", _evaluations),
    ("0014_not_judged", _not_judged),
    ("0015_choices", _choices),
    ("0016_past", _past),
    ("0017_unblind", _unblind),
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
        raise BadInput(
            "This is a database of another program.", where=str(path), todo="Choose another home with --home DIR."
        )
    if found > LATEST:
        raise NewerStore(
            f"The store has version {found}; this Tuningfork knows versions up to {LATEST}.",
            where=str(path),
            todo="Upgrade Tuningfork, or choose another home with --home DIR.",
        )


def migrate(db: Database, path: Path, backup: Callable[[int], object]) -> None:
    """Brings the store at `path` up to date, inside the caller's write transaction: racing processes take turns.

    `backup` is called with the version of an older store before anything is changed.
    """
    check(db.conn, path)
    found = version(db.conn)
    if found == LATEST:  # another process was faster
        return
    if found:
        backup(found)
    steps = sqlite_utils().Migrations("tuningfork")
    for name, step in STEPS:
        steps(name=name)(step)
    steps.apply(db)
    db.conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
    db.conn.execute(f"PRAGMA user_version={LATEST}")


def _execute(conn: sqlite3.Connection, script: str) -> None:
    """Runs a script inside the open transaction; `executescript` would commit it first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            conn.execute(statement)
            statement = ""
