"""What the store's connections and its migrations both need: the clock, writing many rows, a light way to import
sqlite-utils. Knows no table."""

from __future__ import annotations

import importlib
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from itertools import chain
from typing import Any

_import_lock = threading.Lock()
_ROWS = 1_000
"""The most rows that one statement writes."""


def now() -> int:
    """The time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def insert_rows(conn: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]], known: str = "") -> int:
    """Inserts rows of equal length, and returns how many; `into` is the table with its columns: "pair (uid, question)".
    `known` is what becomes of rows that are there: "ON CONFLICT DO NOTHING".

    Up to a thousand rows are one statement. `executemany` gives Python's lock away and takes it back for every row, and
    waits each time for a thread that computes meanwhile.
    """
    if not rows:
        return 0
    width = len(rows[0])
    most = max(1, min(_ROWS, conn.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // width))
    row = f"({', '.join('?' * width)})"
    made = 0
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        sql = f"INSERT INTO {into} VALUES {', '.join([row] * len(part))} {known}"
        made += conn.execute(sql, list(chain.from_iterable(part))).rowcount
    return made


def update_rows(
    conn: sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *and_set: str
) -> None:
    """Updates rows by their `id`: each of `rows` is the id and the values of the columns; `and_set` are assignments
    that are the same for all.

    Up to a thousand rows are one statement: each one in a transaction costs the more the more was changed before it,
    because what it takes to undo it alone is kept in memory.
    """
    values = [f"{name} = json_extract(j.value, '$[{n}]')" for n, name in enumerate(columns, 1)]
    sql = (
        f"UPDATE {table} SET {', '.join([*values, *and_set])} FROM json_each(?) j"
        f" WHERE {table}.id = json_extract(j.value, '$[0]')"
    )
    for start in range(0, len(rows), _ROWS):
        conn.execute(sql, (json.dumps(rows[start : start + _ROWS], ensure_ascii=False),))


def sqlite_utils() -> Any:
    """The sqlite_utils package, imported without the pandas and numpy that it would pull in (0.5 s, 80 MB)."""
    with _import_lock:
        hidden = [name for name in ("pandas", "numpy") if "sqlite_utils" not in sys.modules and name not in sys.modules]
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes `import` raise ImportError
        try:
            return importlib.import_module("sqlite_utils")
        finally:
            for name in hidden:
                sys.modules.pop(name, None)
