"""Migrations: racing processes, an older store backed up first, a failing step that changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from store import chats, datasets, edits, exports, jobs, migrations, pairs
from store.db import Store
from store.home import Home
from store.records import PairDraft
from tests.store.old_store import V1_PAIRS, first_version, insert_v1_pairs
from tests.store.test_db import finish, python


def add_column(db: Any) -> None:
    db.conn.execute("ALTER TABLE dataset ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")


def next_version(monkeypatch: pytest.MonkeyPatch, step: Any) -> None:
    """This version, with one more step than the released one."""
    monkeypatch.setattr(migrations, "STEPS", [*migrations.STEPS, ("9999_next", step)])
    monkeypatch.setattr(migrations, "LATEST", migrations.LATEST + 1)


def test_four_racing_processes_make_one_store(home: Home) -> None:
    code = """
import sys, time
from pathlib import Path
from store import pairs
from store.db import Store
from store.home import Home
from store.records import PairDraft
time.sleep(max(0, float(sys.argv[2]) - time.time()))
with Store.open(Home(Path(sys.argv[1]))) as store:
    pairs.create(store, PairDraft("q " + sys.argv[3], "a"))
    print(store.scalar("SELECT count(*) FROM _sqlite_migrations"))
"""
    import time

    start = str(time.time() + 1.5)
    assert finish(*(python(code, str(home.root), start, str(n)) for n in range(4))) == [str(migrations.LATEST)] * 4
    with Store.open(home) as store:
        assert pairs.count(store) == 4
        assert store.integrity() == []
    assert list(home.root.glob("store-v*")) == [], "a new store has nothing to back up"


def test_an_older_store_is_copied_then_migrated(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(home) as store:
        pairs.create(store, PairDraft("q", "a"), dataset="d")
    old = migrations.LATEST
    next_version(monkeypatch, add_column)
    with Store.open(home) as store:
        assert store.scalar("SELECT colour FROM dataset") == "blue"
        assert store.scalar("PRAGMA user_version") == old + 1
    copies = list(home.root.glob(f"store-v{old}-*.db"))
    assert len(copies) == 1
    assert copies[0].stat().st_mode & 0o777 == 0o600
    with Store.open(home):
        pass
    assert len(list(home.root.glob("store-v*.db"))) == 1, "an up-to-date store is not copied again"
    monkeypatch.undo()
    restored = Home(home.root / "restored").ensure()
    copies[0].rename(restored.database)
    with Store.open(restored) as store:
        assert pairs.count(store, "d") == 1


def test_a_step_that_fails_changes_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(home).close()
    old = migrations.LATEST

    def broken(db: Any) -> None:
        add_column(db)
        raise RuntimeError("broken step")

    next_version(monkeypatch, broken)
    with pytest.raises(RuntimeError, match="broken step"):
        Store.open(home)
    monkeypatch.undo()
    with Store.open(home) as store:
        assert store.scalar("PRAGMA user_version") == old
        assert "colour" not in [row["name"] for row in store.rows("PRAGMA table_info(dataset)")]


def test_opening_without_migration_leaves_an_old_store_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(home).close()
    old = migrations.LATEST
    next_version(monkeypatch, add_column)
    with Store.open(home, migrate=False) as store:
        assert store.scalar("PRAGMA user_version") == old


def test_a_store_of_version_1_is_found_in_every_language_afterwards(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with first_version(home, monkeypatch) as old, old.write() as conn:
        insert_v1_pairs(conn)
        conn.execute("INSERT INTO chat (id, created_at, updated_at) VALUES (1, 1, 1)")
        conn.execute("INSERT INTO message (chat_id, role, text, created_at) VALUES (1, 'user', '微调模型', 1)")
    with Store.open(home) as store:
        for text, ids in (("cafe", [1]), ("模型", [2]), ("Ember", [1]), ("说", [2]), ("C++", [2]), ("👍", [2])):
            assert pairs.search_ids(store, text) == ids, text
        assert [chat.id for chat in chats.search(store, "模型")] == [1]
        assert [pair.question for pair in pairs.page(store, [1, 2])] == [V1_PAIRS[0][4], V1_PAIRS[1][4]]
        assert store.integrity() == []
    assert len(list(home.root.glob("store-v1-*.db"))) == 1


def test_other_rules_of_the_index_fill_it_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer Python knows other characters; an index filled by older rules would go wrong word by word."""
    with Store.open(home) as store:
        pairs.create(store, PairDraft("q", "a"))
        store.conn.execute("INSERT INTO pair_fts (pair_fts) VALUES ('delete-all')")
        assert pairs.search_ids(store, "q") == []
    Store.open(home).close()
    monkeypatch.setattr("store.search_text.RULES", "2, Unicode 99")
    with Store.open(home) as store:
        assert len(pairs.search_ids(store, "q")) == 1
        assert store.scalar("SELECT rules FROM search_rules") == "2, Unicode 99"


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("pair_revision", "UPDATE pair_revision SET edit_id = 1"),
        ("pair_revision", "DELETE FROM pair_revision"),
        ("pair_past", "UPDATE pair_past SET answer = 'x'"),
        ("pair_past", "DELETE FROM pair_past"),
        ("snapshot", "UPDATE snapshot SET n_rows = 9"),
        ("snapshot_row", "UPDATE snapshot_row SET split = 'val'"),
        ("snapshot_row", "DELETE FROM snapshot_row"),
        ("content", "UPDATE content SET body = '[]'"),
    ],
)
def test_what_is_frozen_cannot_be_changed(store: Store, table: str, change: str) -> None:
    import sqlite3

    pairs.edit(store, pairs.create(store, PairDraft("q", "a"), dataset="d").uid, answer="b")
    datasets.freeze(store, "d")
    assert store.scalar(f"SELECT count(*) FROM {table}") > 0
    with pytest.raises(sqlite3.IntegrityError), store.write() as conn:
        conn.execute(change)


def test_a_store_of_version_1_keeps_its_rows_and_can_hold_jobs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with first_version(home, monkeypatch) as old:
        with old.write() as conn:
            insert_v1_pairs(conn)
        made = exports.start(old, run="ember", format="gguf", quant="q8_0", path="exports/x")
        assert old.scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'job'") == 0
    with Store.open(home) as store:
        assert pairs.count(store) == len(V1_PAIRS) and exports.get(store, made.id) == made
        job = jobs.create(store, kind="export", name="ember", module="engine.export", request={"run": "ember"})
        assert jobs.get(store, job.id).request == {"run": "ember"} and store.integrity() == []


def test_revisions_and_undo_of_a_store_before_pair_past_stay(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every state of every pair is still there, and what was undone can be redone."""
    names = [name for name, _ in migrations.STEPS]
    before = names.index("0016_past")
    states = "kind, system, history, question, answer, status, tags, source, content_hash, deleted_at"
    with monkeypatch.context() as then:
        then.setattr(migrations, "STEPS", migrations.STEPS[:before])
        then.setattr(migrations, "LATEST", before)
        old = Store(home.ensure())
        with old.write() as conn:
            migrations.migrate(old.db, home.database, lambda found: None)
            conn.execute("INSERT INTO edit (kind, actor, label, created_at) VALUES ('do', 'u', 'import', 1)")
            conn.execute("INSERT INTO open_edit VALUES (1, 1)")
            conn.execute("INSERT INTO dataset (id, name, created_at) VALUES (1, 'd', 1)")
            conn.executemany(
                "INSERT INTO pair (id, uid, question, answer, status, revision, content_hash, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, 'ready', ?, ?, 1, 1)",
                [(1, "aaaa00000001", "模型 q", "new", 2, "h2"), (2, "aaaa00000002", "other", "a", 1, "h3")],
            )
            conn.execute("INSERT INTO dataset_pair (dataset_id, pair_id) VALUES (1, 1), (1, 2)")
            conn.execute("DELETE FROM open_edit")
            conn.execute("INSERT INTO edit (kind, actor, label, created_at) VALUES ('do', 'u', 'edit', 2)")
            conn.execute(f"INSERT INTO pair_revision SELECT id, revision, revision, {states} FROM pair")
            earlier = states.replace("answer", "'old'").replace("content_hash", "'h1'")
            conn.execute(f"INSERT INTO pair_revision SELECT id, 1, 1, {earlier} FROM pair WHERE id = 1")
        old.close()
    with Store.open(home) as store:
        assert store.integrity() == []
        assert [state.answer for state in pairs.revisions(store, "aaaa00000001")] == ["old", "new"]
        assert pairs.search_ids(store, "模型") == [1]
        assert store.scalar("SELECT count(*) FROM pair_past") == 1, "a pair that was never changed is kept once"
        edits.undo(store)
        assert pairs.get(store, "aaaa00000001").answer == "old"
        edits.undo(store)
        assert (pairs.count(store), datasets.all_datasets(store)) == (0, [])
        edits.redo(store)
        edits.redo(store)
        assert pairs.count(store, "d") == 2
        assert [state.revision for state in pairs.revisions(store, "aaaa00000001")] == [1, 2, 3, 4, 5, 6]
        assert store.integrity() == []
