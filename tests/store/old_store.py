"""A store as the first release made it, with rows in it: what migrations must keep."""

from __future__ import annotations

import sqlite3

import pytest

from store import migrations
from store.db import Store
from store.home import Home

_PAIR = (
    "INSERT INTO pair (id, uid, system, history, question, answer, status, content_hash, created_at, updated_at)"
    " VALUES (?, ?, ?, ?, ?, ?, 'ready', ?, 1, 1)"
)
V1_PAIRS = [
    (1, "aaaa00000001", "Answer as Ember.", "[]", "Where is the café?", "Round the corner.", "h1"),
    (2, "aaaa00000002", "", '[{"role":"user","content":"说说看"}]', "大语言模型微调", "C++ 👍", "h2"),
]


def first_version(home: Home, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of version 1, open. Today's functions cannot write to it: insert rows with SQL."""
    with monkeypatch.context() as then:
        then.setattr(migrations, "STEPS", migrations.STEPS[:1])
        then.setattr(migrations, "LATEST", 1)
        store = Store(home.ensure())
        with store.write():
            migrations.migrate(store.db, home.database, lambda found: None)
    return store


def insert_v1_pairs(conn: sqlite3.Connection) -> None:
    """`V1_PAIRS` as version 1 kept them: the pairs and their search index."""
    conn.executemany(_PAIR, V1_PAIRS)
    conn.execute("INSERT INTO pair_fts (rowid, question, answer) SELECT id, question, answer FROM pair")
