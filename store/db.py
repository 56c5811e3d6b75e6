"""Connections to the store: pragmas, the one write context, migration at opening, backup and integrity.
Knows no table but SQLite's own; migrations.py and the modules that use the tables explain what they mean."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import migrations, search_text
from store.errors import BadInput, Conflict, NoSpace, TuningforkError
from store.files import replacing
from store.home import NO_ROOM, Home
from store.sqlite import now, sqlite_utils

if TYPE_CHECKING:
    from sqlite_utils import Database

BUSY_MS = 10_000
"""How long a writer waits for another before it gives up, in milliseconds."""
_STEPS = 10_000
"""After so many steps of SQLite's machine, far less than a millisecond, the clock is looked at."""

__all__ = ["BUSY_MS", "Params", "Store", "now", "sqlite_utils", "translated"]

Params = Sequence[Any] | Mapping[str, Any]


class Store:
    """The open store of one home. Safe to share between threads: each gets a connection of its own."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[tuple[threading.Thread, sqlite3.Connection]] = []

    @classmethod
    def open(cls, home: Home, *, migrate: bool = True) -> Store:
        """Opens (and makes, or brings up to date after a backup copy) the store of `home`.

        Raises BadInput when the file is not a store of ours, NewerStore when a newer version wrote it, NoSpace on a
        full disk, Conflict when another program keeps it busy.
        """
        home.ensure()
        store = cls(home)
        try:
            with translated(home.database, OSError):
                _make_private(home.database)
                if migrate:
                    store._bring_up_to_date()
        except BaseException:
            store.close()
            raise
        return store

    def _bring_up_to_date(self) -> None:
        """Migrates an older store after a backup copy, and fills the search index when its rules have changed."""
        if migrations.version(self.conn) < migrations.LATEST:
            with self.write():  # the copy reads the last committed state while we hold the write lock
                migrations.migrate(
                    self.db,
                    self.home.database,
                    lambda found: self.backup(self.home.root / f"store-v{found}-{now()}.db"),
                )
        if self.scalar("SELECT rules FROM search_rules") != search_text.RULES:
            with self.write() as conn:
                for index in ("pair_fts", "message_fts", "preference_fts", "feedback_fts"):
                    conn.execute(f"INSERT INTO {index} ({index}) VALUES ('rebuild')")
                conn.execute("UPDATE search_rules SET rules = ?", (search_text.RULES,))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def conn(self) -> sqlite3.Connection:
        """This thread's connection; rows answer to their column names."""
        conn: sqlite3.Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            conn = self._local.conn = _connect(self.home.database)
            with self._lock:
                for thread, old in self._open:
                    if not thread.is_alive():
                        old.close()
                self._open = [kept for kept in self._open if kept[0].is_alive()]
                self._open.append((threading.current_thread(), conn))
        return conn

    @property
    def db(self) -> Database:
        """sqlite-utils over this thread's connection."""
        db: Database | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = sqlite_utils().Database(self.conn, execute_plugins=False)
        return db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block or nothing. Begins immediate: a reader turned writer waits, not fails.

        Nested blocks join the outer one; an inner block that raises rolls back its own writes alone.
        """
        conn = self.conn
        nested = conn.in_transaction
        with translated(self.home.database):
            conn.execute("SAVEPOINT nested" if nested else "BEGIN IMMEDIATE")
            try:
                yield conn
                conn.execute("RELEASE nested" if nested else "COMMIT")
            except BaseException:
                if conn.in_transaction:  # a full disk may have rolled back already
                    if nested:
                        conn.execute("ROLLBACK TO nested")
                        conn.execute("RELEASE nested")
                    else:
                        conn.execute("ROLLBACK")
                raise

    def rows(self, sql: str, params: Params = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with translated(self.home.database):
            return self.conn.execute(sql, params).fetchall()

    def each(self, sql: str, params: Params = ()) -> Iterator[sqlite3.Row]:
        """The rows of a query one after another, as far as they are asked for."""
        with translated(self.home.database), closing(self.conn.execute(sql, params)) as found:
            yield from found

    def batches(self, sql: str, params: Params = (), size: int = 5_000) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query as plain tuples, so many at a time: what is too long for the memory."""
        with translated(self.home.database), closing(self.conn.cursor()) as cursor:
            cursor.row_factory = None
            cursor.execute(sql, params)
            while rows := cursor.fetchmany(size):
                yield rows

    def column(self, sql: str, params: Params = ()) -> list[Any]:
        """The first column of all rows: twice as fast as `rows` for a long list of ids, and in less memory."""
        return [row[0] for rows in self.batches(sql, params) for row in rows]

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Lets the queries of this thread run for so long; then they stop, and TimeoutError is raised."""
        conn, end, stopped = self.conn, time.monotonic() + seconds, False

        def late() -> bool:
            nonlocal stopped
            stopped = time.monotonic() > end
            return stopped

        conn.set_progress_handler(late, _STEPS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if not stopped:
                raise
            raise TimeoutError(f"A query took more than {seconds:g} s.") from error
        finally:
            conn.set_progress_handler(None, 0)

    def row(self, sql: str, params: Params = ()) -> sqlite3.Row | None:
        """The first row of a query, if any."""
        with translated(self.home.database):
            found: sqlite3.Row | None = self.conn.execute(sql, params).fetchone()
            return found

    def scalar(self, sql: str, params: Params = ()) -> Any:
        """The first column of the first row, or None."""
        found = self.row(sql, params)
        return found[0] if found else None

    def now(self) -> int:
        """The time in UTC milliseconds."""
        return now()

    def data_version(self) -> int:
        """A number that changes when another connection has committed: a cheap poll."""
        return int(self.scalar("PRAGMA data_version"))

    def backup(self, path: Path) -> Path:
        """Writes a consistent copy of the store to `path` (mode 0600), complete or not at all."""
        with translated(path, OSError), replacing(path, 0o600) as part:
            source, target = _connect(self.home.database), sqlite3.connect(part)
            try:
                source.backup(target)
            finally:
                target.close()
                source.close()
        return path

    def integrity(self) -> list[str]:
        """What is wrong with the file, its references and its search index; empty when nothing is."""
        try:
            found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
            found += [
                f"{row[0]} row {row[1]} refers to a missing {row[2]}" for row in self.rows("PRAGMA foreign_key_check")
            ]
            for table in self.rows("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%fts5%'"):
                with self.write() as conn:
                    conn.execute(f"INSERT INTO {table[0]}({table[0]}, rank) VALUES ('integrity-check', 1)")
        except (TuningforkError, sqlite3.DatabaseError) as error:
            found = [f"the store cannot be checked: {error}"]
        return found

    def close(self) -> None:
        """Closes every thread's connection."""
        with self._lock:
            for _, conn in self._open:
                conn.close()
            self._open.clear()
        self._local = threading.local()


def _make_private(path: Path) -> None:
    """Makes the file, mode 0600, unless it is there.

    One that is there is never opened past SQLite: closing it again would drop every lock that this process holds on it,
    and another process would then pull the log from under us.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    conn.row_factory = sqlite3.Row
    for name, function in search_text.SQL_FUNCTIONS.items():
        conn.create_function(name, -1, function, deterministic=True)
    for pragma in (
        "foreign_keys=ON",
        "trusted_schema=ON",  # views and triggers of the search index call our functions
        "recursive_triggers=ON",
        "synchronous=NORMAL",
        "temp_store=MEMORY",
        "cache_size=-16000",
    ):
        conn.execute(f"PRAGMA {pragma}")
    migrations.check(conn, path)  # before the first pragma that would change a file that is not ours
    _use_wal(conn)
    return conn


def _use_wal(conn: sqlite3.Connection) -> None:
    """Turns on write-ahead logging. SQLite ignores its busy timeout here, so two first openers need this patience."""
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            conn.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def translated(path: Path, *also: type[Exception]) -> Iterator[None]:
    """Turns what SQLite (and `also`, say OSError) reports about the file at `path` into our errors.

    Integrity errors pass unchanged: they are ours to prevent, or to name better where they are caught.
    """
    try:
        yield
    except (sqlite3.Error, *also) as error:  # type: ignore[misc]  # mypy cannot see through the star
        known = _known_error(error, str(path))
        if known is None:
            raise
        raise known from error


_KNOWN_ERRORS: dict[str, tuple[type[TuningforkError], str, str]] = {
    "SQLITE_FULL": (NoSpace, "No space is left on the disk; nothing was changed.", "Free some space and try again."),
    "SQLITE_IOERR": (
        TuningforkError,
        "Reading or writing the disk failed; nothing was changed.",
        "Check the disk with: tuningfork doctor",
    ),
    "SQLITE_BUSY": (Conflict, "Another program is writing to the store and did not finish.", "Try again in a moment."),
    "SQLITE_LOCKED": (
        Conflict,
        "Another program is writing to the store and did not finish.",
        "Try again in a moment.",
    ),
    "SQLITE_NOTADB": (
        BadInput,
        "This is not a SQLite database.",
        "Choose another home with --home DIR, or move this file away.",
    ),
    "SQLITE_READONLY": (BadInput, "The store cannot be written.", "Check the permissions of the home folder."),
    "SQLITE_CANTOPEN": (BadInput, "The store cannot be opened.", "Check the path and its permissions."),
    "SQLITE_CORRUPT": (TuningforkError, "The store is damaged.", "Restore a backup copy of it."),
}


def _known_error(error: Exception, where: str) -> TuningforkError | None:
    name = getattr(error, "sqlite_errorname", "")
    if isinstance(error, OSError):
        if error.errno not in NO_ROOM:
            return BadInput(
                f"The file cannot be opened ({error.strerror}).",
                where=where,
                todo="Check the path and its permissions.",
            )
        name = "SQLITE_FULL"
    elif name == "SQLITE_IOERR_WRITE":  # what a file-size limit or a quota looks like
        name = "SQLITE_FULL"
    for prefix, (kind, what, todo) in _KNOWN_ERRORS.items():
        if name.startswith(prefix):
            return kind(what, where=where, todo=todo)
    return None
