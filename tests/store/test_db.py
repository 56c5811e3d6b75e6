"""Connections and the one write context: nesting, threads, contending processes, a full disk, damage."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from store import datasets, pairs
from store.db import Store
from store.errors import BadInput, Conflict, NewerStore, NoSpace, TuningforkError
from store.home import Home
from store.migrations import APPLICATION_ID, LATEST
from store.records import PairDraft

ROOT = Path(__file__).parents[2]


def python(code: str, *args: str) -> subprocess.Popen[str]:
    """A real process with the project on its path."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    outputs = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        outputs.append(out.strip())
    return outputs


def test_pragmas(store: Store) -> None:
    assert store.scalar("PRAGMA journal_mode") == "wal"
    assert store.scalar("PRAGMA foreign_keys") == 1
    assert store.scalar("PRAGMA application_id") == APPLICATION_ID
    assert store.scalar("PRAGMA user_version") == LATEST
    assert store.scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%STRICT%'") > 20


def test_write_is_all_or_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.write():
        datasets.create(store, "lost")
        raise RuntimeError
    assert datasets.all_datasets(store) == []
    assert not store.conn.in_transaction


def test_an_inner_write_that_fails_takes_back_its_own_part_only(store: Store) -> None:
    with store.write():
        datasets.create(store, "kept")
        with pytest.raises(RuntimeError), store.write():
            datasets.create(store, "lost")
            raise RuntimeError
    assert [dataset.name for dataset in datasets.all_datasets(store)] == ["kept"]


def test_an_inner_write_commits_with_the_outer_one(store: Store) -> None:
    with pytest.raises(RuntimeError), store.write():
        with store.write():
            datasets.create(store, "lost")
        raise RuntimeError
    assert datasets.all_datasets(store) == []


def test_each_thread_has_its_own_connection(store: Store) -> None:
    seen = []

    def work() -> None:
        datasets.create(store, "from a thread")
        seen.append(store.conn)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0] is not store.conn
    assert [dataset.name for dataset in datasets.all_datasets(store)] == ["from a thread"]


def test_connections_of_ended_threads_are_closed(store: Store) -> None:
    for _ in range(20):
        thread = threading.Thread(target=lambda: store.scalar("SELECT 1"))
        thread.start()
        thread.join()
    assert len(store._open) <= 2


def test_data_version_tells_of_other_connections(store: Store) -> None:
    before = store.data_version()
    datasets.create(store, "mine")
    assert store.data_version() == before, "own commits are no news"
    with Store.open(store.home) as other:
        datasets.create(other, "theirs")
    assert store.data_version() != before


def test_two_processes_write_without_losing_a_row(home: Home) -> None:
    Store.open(home).close()
    code = """
import sys
from pathlib import Path
from store import pairs
from store.db import Store
from store.home import Home
from store.records import PairDraft
with Store.open(Home(Path(sys.argv[1]))) as store:
    for n in range(60):
        with store.write():
            before = pairs.count(store)  # read, then write: what a deferred transaction would lose
            pairs.create(store, PairDraft(f"{sys.argv[2]} {n}", "yes"), dataset="both")
            assert pairs.count(store) == before + 1
"""
    finish(*(python(code, str(home.root), name) for name in ("one", "two")))
    with Store.open(home) as store:
        assert pairs.count(store, "both") == 120
        assert store.integrity() == []


def test_a_writer_that_stays_away_too_long_is_a_conflict(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.db.BUSY_MS", 100)
    busy = pytest.raises(Conflict, match="nother program")
    with Store.open(home) as one, Store.open(home) as two, one.write(), busy:
        datasets.create(two, "d")


def drafts(count: int) -> list[PairDraft]:
    return [PairDraft(f"question {n} " + "long " * 40, f"answer {n} " + "words " * 40) for n in range(count)]


def test_a_full_store_rolls_back(store: Store) -> None:
    pairs.create(store, PairDraft("before", "yes"), dataset="d")
    pages = store.scalar("PRAGMA page_count")
    store.conn.execute(f"PRAGMA max_page_count={pages + 20}")
    with pytest.raises(NoSpace) as caught:
        pairs.create_many(store, drafts(2_000), dataset="big")
    assert caught.value.todo and "space" in caught.value.todo
    assert not store.conn.in_transaction
    assert (pairs.count(store), [d.name for d in datasets.all_datasets(store)]) == (1, ["d"])
    store.conn.execute("PRAGMA max_page_count=1000000")
    assert len(pairs.create_many(store, drafts(50)).uids) == 50
    assert store.integrity() == []


def test_a_full_disk_rolls_back(home: Home) -> None:
    """A file-size limit makes the real write() fail, as a full disk or a quota does."""
    with Store.open(home) as store:
        pairs.create(store, PairDraft("before", "yes"))
    code = """
import resource, sys
from pathlib import Path
from store import pairs
from store.db import Store
from store.errors import NoSpace
from store.home import Home
from store.records import PairDraft
with Store.open(Home(Path(sys.argv[1]))) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    try:
        pairs.create_many(store, (PairDraft(f"question {n} " + "long " * 60, "word " * 60) for n in range(20_000)))
    except NoSpace as error:
        print("no space", pairs.count(store))
"""
    assert finish(python(code, str(home.root))) == ["no space 1"]
    with Store.open(home) as store:
        assert pairs.count(store) == 1
        assert store.integrity() == []


def test_a_killed_writer_leaves_nothing(home: Home) -> None:
    Store.open(home).close()
    code = """
import os, sys
from pathlib import Path
from store import pairs
from store.db import Store
from store.home import Home
from store.records import PairDraft
def endless():
    for n in range(1_000_000):
        if n == 30_000:
            os.kill(os.getpid(), 9)
        yield PairDraft(f"question {n}", "yes")
pairs.create_many(Store.open(Home(Path(sys.argv[1]))), endless(), dataset="d")
"""
    process = python(code, str(home.root))
    process.communicate(timeout=60)
    assert process.returncode == -9
    with Store.open(home) as store:
        assert (pairs.count(store), datasets.all_datasets(store), pairs.edits(store)) == (0, [], [])
        assert store.integrity() == []


def test_a_file_that_is_no_database_is_refused_and_kept(home: Home) -> None:
    home.database.write_text("my diary, not a database " * 100)
    with pytest.raises(BadInput, match="not a SQLite database"):
        Store.open(home)
    assert home.database.read_text().startswith("my diary")


def test_another_programs_database_is_refused_and_not_changed(home: Home) -> None:
    conn = sqlite3.connect(home.database)
    conn.execute("CREATE TABLE theirs (x)")
    conn.commit()
    conn.close()
    before = home.database.read_bytes()
    with pytest.raises(BadInput, match="another program"):
        Store.open(home)
    assert home.database.read_bytes() == before


def test_a_newer_store_is_refused(home: Home) -> None:
    with Store.open(home) as store:
        store.conn.execute(f"PRAGMA user_version={LATEST + 3}")
    with pytest.raises(NewerStore) as caught:
        Store.open(home)
    assert str(LATEST + 3) in caught.value.what
    assert caught.value.exit_code == 2
    assert caught.value.todo and "Upgrade" in caught.value.todo


def test_backup_is_a_whole_private_copy(store: Store, tmp_path: Path) -> None:
    pairs.create(store, PairDraft("q", "a"))
    copy = Home(tmp_path / "copy").ensure()
    store.backup(copy.database)
    assert copy.database.stat().st_mode & 0o777 == 0o600
    with Store.open(copy) as other:
        assert pairs.count(other) == 1
    assert [path.name for path in copy.root.iterdir() if path.name.endswith(".part")] == []


def test_backup_into_a_missing_folder_says_so(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        store.backup(tmp_path / "missing" / "copy.db")


def test_integrity_sees_a_damaged_search_index(store: Store) -> None:
    pairs.create(store, PairDraft("question", "answer"))
    assert store.integrity() == []
    store.conn.execute("INSERT INTO pair_fts (pair_fts) VALUES ('delete-all')")
    assert store.integrity() != []


def test_integrity_sees_a_missing_reference(store: Store) -> None:
    store.conn.execute("PRAGMA foreign_keys=OFF")
    store.conn.execute("INSERT INTO metric (run_id, name, step, at) VALUES (7, 'loss', 1, 1)")
    assert any("missing" in line for line in store.integrity())


def test_a_damaged_file_is_told(home: Home) -> None:
    with Store.open(home) as store:
        pairs.create_many(store, drafts(300))
        store.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(home.database.read_bytes())
    data[8192 : len(data) // 2] = b"\xff" * (len(data) // 2 - 8192)
    home.database.write_bytes(bytes(data))
    try:
        with Store.open(home) as store:
            assert store.integrity() != []
    except TuningforkError as error:
        assert "damaged" in error.what


def test_a_query_stops_after_its_time_and_the_next_one_runs(store: Store) -> None:
    endless = "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(TimeoutError), store.within(0.01):
        store.scalar(endless)
    with store.within(60):
        assert store.scalar("SELECT 1") == 1
    with pytest.raises(sqlite3.OperationalError, match="no such table"), store.within(60):
        store.scalar("SELECT * FROM nowhere")
