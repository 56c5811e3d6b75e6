"""Undo means the last change: what is one edit, what undo brings back, and where it stops."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from store import bulk, datasets, edits, importing, pairs, votes
from store.db import Store
from store.errors import Conflict
from store.home import Home
from store.records import PairDraft, PlacedDraft, PreferenceDraft, Turn
from tests.store.old_store import first_version, insert_v1_pairs

DRAFTS = [PairDraft(f"q{n}", f"a{n}") for n in range(6)]


def labels(store: Store) -> list[str]:
    return [edit.label for edit in edits.undoable(store)]


def splits(store: Store, name: str) -> list[str]:
    return [split for _, split in datasets.members(store, name)]


def test_each_change_is_undone_in_its_turn(store: Store) -> None:
    uids = pairs.create_many(store, DRAFTS, dataset="d").uids
    datasets.set_split(store, "d", uids[:2], "val")
    datasets.resplit(store, "d", val=0.5)
    after = splits(store, "d")
    datasets.drop(store, "d", uids[:3])
    datasets.rename(store, "d", "e")
    datasets.remove(store, "e")
    assert labels(store) == [
        "remove the dataset e",
        "rename d to e",
        "take out of d",
        "split d",
        "move to val in d",
        "import",
    ]
    edits.undo(store)
    assert [d.name for d in datasets.all_datasets(store)] == ["e"] and datasets.get(store, "e").pairs == 3
    edits.undo(store)
    assert datasets.get(store, "d").pairs == 3
    edits.undo(store)
    assert splits(store, "d") == after
    undone = edits.undo(store)
    assert undone is not None and undone.label == "split d"
    assert splits(store, "d") == ["val", "val", "train", "train", "train", "train"]
    edits.undo(store)
    assert splits(store, "d") == ["train"] * 6
    edits.undo(store)
    assert (datasets.all_datasets(store), pairs.count(store), edits.undo(store)) == ([], 0, None)
    while edits.redo(store):
        pass
    assert (datasets.all_datasets(store), pairs.count(store)) == ([], 6)


def test_an_import_that_joined_known_pairs_is_undone_there_too(store: Store) -> None:
    pairs.create_many(store, DRAFTS[:3], dataset="one")
    pairs.create_many(store, DRAFTS[:4], dataset="two")
    assert datasets.get(store, "two").pairs == 4
    undone = edits.undo(store)
    assert undone is not None and undone.pairs == 4
    assert [d.name for d in datasets.all_datasets(store)] == ["one"] and pairs.count(store) == 3


def test_an_import_of_known_pairs_alone_is_an_edit(store: Store) -> None:
    pairs.create_many(store, DRAFTS[:3], dataset="one")
    datasets.create(store, "two")
    pairs.create_many(store, DRAFTS[:3], dataset="two")
    edits.undo(store)
    assert (datasets.get(store, "one").pairs, datasets.get(store, "two").pairs) == (3, 0)


def test_a_file_is_one_edit_whatever_it_holds(store: Store, tmp_path: Path) -> None:
    one, two = tmp_path / "pairs.jsonl", tmp_path / "preferences.jsonl"
    one.write_text('{"instruction": "q", "output": "a"}\n')
    two.write_text('{"prompt": "q", "chosen": "good", "rejected": "bad"}\n')
    importing.import_files(store, [one, two], dataset="d")
    assert labels(store) == ["import pairs.jsonl, preferences.jsonl"]
    undone = edits.undo(store)
    assert undone is not None and undone.pairs == 2
    assert (pairs.count(store), votes.preferences(store), datasets.all_datasets(store)) == (0, [], [])


def test_a_removed_dataset_comes_back_with_its_preferences_and_snapshots(store: Store) -> None:
    pairs.create_many(store, DRAFTS, dataset="d")
    votes.import_preferences(store, [PreferenceDraft((Turn("user", "q"),), "good", "bad")], dataset="d")
    frozen = datasets.freeze(store, "d")
    datasets.remove(store, "d")
    assert (votes.preferences(store), datasets.snapshot(store, frozen.hash).dataset) == ([], None)
    edits.undo(store)
    assert len(votes.preferences(store, "d")) == 1
    assert datasets.snapshot(store, frozen.hash).dataset == "d"
    assert store.integrity() == []


def test_one_action_is_one_edit(store: Store) -> None:
    with edits.recording(store, "keep this answer", "ann") as edit_id:
        pair = pairs.create(store, DRAFTS[0], dataset="d")
        pairs.edit(store, pair.uid, answer="better")
        datasets.set_split(store, "d", [pair.uid], "val")
    (done,) = edits.edits(store)
    assert (done.id, done.label, done.actor, done.pairs) == (edit_id, "keep this answer", "ann", 2)
    edits.undo(store)
    assert (pairs.count(store), datasets.all_datasets(store)) == (0, [])
    edits.redo(store)
    assert [(p.answer, s) for p, s in datasets.members(store, "d")] == [("better", "val")]


def test_what_failed_is_no_edit(store: Store) -> None:
    with pytest.raises(RuntimeError), edits.recording(store, "lost"):
        pairs.create(store, DRAFTS[0], dataset="d")
        raise RuntimeError
    assert (edits.edits(store), pairs.count(store)) == ([], 0)
    with edits.recording(store, "kept"):
        pairs.create(store, DRAFTS[0])
        with pytest.raises(RuntimeError), edits.recording(store, "inner"):
            pairs.create(store, DRAFTS[1])
            raise RuntimeError
    assert (labels(store), pairs.count(store)) == (["kept"], 1)


def test_what_changes_nothing_is_no_edit(store: Store) -> None:
    uids = pairs.create_many(store, DRAFTS, dataset="d").uids
    datasets.ensure(store, "d")
    datasets.add(store, "d", uids)
    datasets.drop(store, "d", ["missing"])
    datasets.rename(store, "d", "d")
    datasets.resplit(store, "d", val=0.0)
    assert labels(store) == ["import"]


def test_undo_stops_at_what_cannot_be_undone(store: Store) -> None:
    pairs.create(store, DRAFTS[0])
    with edits.recording(store, "erase a secret for ever", permanent=True):
        pass
    pair = pairs.create(store, DRAFTS[1])
    assert [(edit.label, edit.permanent) for edit in edits.undoable(store)] == [
        ("add", False),
        ("erase a secret for ever", True),
    ]
    edits.undo(store)
    for _ in range(2):
        with pytest.raises(Conflict, match="erase a secret for ever") as caught:
            edits.undo(store)
        assert caught.value.todo
    assert pairs.count(store) == 1
    edits.redo(store)
    assert pairs.get(store, pair.uid).answer == "a1"


def test_undo_does_not_reach_past_the_upgrade_of_a_store(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 did not record changes of datasets: undoing its edits would mix old states with new ones."""
    with first_version(home, monkeypatch) as old, old.write() as conn:
        insert_v1_pairs(conn)
        conn.execute("INSERT INTO edit (kind, actor, label, pairs, created_at) VALUES ('do', 'u', 'import', 2, 1)")
        conn.execute("INSERT INTO dataset (id, name, created_at) VALUES (3, 'd', 1)")
        conn.execute("INSERT INTO dataset_pair VALUES (3, 1, 'val')")
        conn.execute(
            "INSERT INTO imported_preference VALUES (5, ?, 'a', 'b', '{}', 'h', 3, 1)",
            ('[{"role":"user","content":"q"}]',),
        )
    with Store.open(home) as store:
        assert splits(store, "d") == ["val"]
        (kept,) = votes.preferences(store, "d")
        assert (kept.chosen, kept.rejected) == ("a", "b")
        datasets.rename(store, "d", "e")
        edits.undo(store)
        with pytest.raises(Conflict, match="upgrade"):
            edits.undo(store)
        datasets.remove(store, "d")
        edits.undo(store)
        assert (splits(store, "d"), votes.preferences(store, "d")) == (["val"], [kept])
        assert store.integrity() == []


def test_a_change_outside_an_edit_is_refused(store: Store) -> None:
    """Whoever writes to these tables without an edit would make undo lie."""
    with pytest.raises(sqlite3.IntegrityError), store.write() as conn:
        conn.execute("INSERT INTO dataset (name, created_at) VALUES ('d', 1)")


def test_keeping_an_answer_over_another_is_one_edit(store: Store) -> None:
    votes.keep_over(store, DRAFTS[0], rejected="worse", rejected_model="base", dataset="d")
    assert (pairs.count(store, "d"), len(votes.preferences(store, "d")), len(labels(store))) == (1, 1, 1)
    edits.undo(store)
    assert (pairs.count(store), votes.preferences(store), datasets.all_datasets(store)) == (0, [], [])


def test_an_edit_of_very_many_pairs_comes_and_goes_whole(store: Store) -> None:
    """More than undo takes at a time, in ranges of two splits and with pairs of a second revision."""
    drafts = [PlacedDraft(f"q{n}", "a", split="val" if n % 2_500 == 0 else None) for n in range(11_000)]
    pairs.create_many(store, drafts, dataset="d")
    made = splits(store, "d")
    bulk.apply(store, pairs_of(store), bulk.BulkChange("draft", add_tags=("x",)))
    for _ in range(2):
        assert store.scalar("SELECT count(*) FROM pair WHERE status = 'draft'") == 11_000
        edits.undo(store)
        assert store.scalar("SELECT count(*) FROM pair WHERE status = 'ready' AND tags = '[]'") == 11_000
        edits.undo(store)
        assert (pairs.count(store), datasets.all_datasets(store)) == (0, [])
        edits.redo(store)
        assert splits(store, "d") == made and made.count("val") == 5
        edits.redo(store)
    assert edits.edits(store, 1)[0].pairs == 11_000
    assert store.integrity() == []


def pairs_of(store: Store) -> list[str]:
    return [uid for (uid,) in store.rows("SELECT uid FROM pair")]
