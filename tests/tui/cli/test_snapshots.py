"""Snapshots after they were frozen: listed with their runs, compared, written and restored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from store import datasets, pairs, preference_rows, runs, votes
from store.db import Store
from store.records import PairDraft, PreferenceDraft, Turn
from tests.tui.cli.conftest import Cli


@pytest.fixture
def two(store: Store) -> tuple[str, str]:
    turns = (Turn("user", "x"), Turn("assistant", "y", train=False))
    drafts = [PairDraft(f"Q{n}", f"It is {n}.", "S", turns if n == 3 else ()) for n in range(4)]
    uids = pairs.create_many(store, drafts, dataset="d").uids
    datasets.set_split(store, "d", uids[3:], "val")
    first = datasets.freeze(store, "d").hash
    pairs.edit(store, uids[0], answer="It was 0.")
    pairs.delete(store, uids[1:2])
    datasets.set_split(store, "d", uids[2:3], "test")
    pairs.create(store, PairDraft("New", "A"), dataset="d")
    return first, datasets.freeze(store, "d").hash


def test_diff_shows_what_was_added_removed_and_changed(tf: Cli, two: tuple[str, str]) -> None:
    found = tf.json("data", "snapshots", "diff", two[0][:8], two[1][:8])
    assert [row["messages"][-2]["content"] for row in found["added"]] == ["New"]
    assert [row["messages"][-2]["content"] for row in found["removed"]] == ["Q1"]
    assert len(found["changed"]) == 2 and found["same"] == 1
    parts = ("added", "removed", "changed")
    every = sum(len(found[part]) for part in parts)
    few = tf.json("data", "snapshots", "diff", two[0][:8], two[1][:8], "--limit", "1")
    assert (sum(len(few[part]) for part in parts), few["left_out"], found["left_out"]) == (1, every - 1, 0)
    said = tf.ok("data", "snapshots", "diff", *two)
    assert "It [-is-]{+was+} 0." in said and "train → test" in said
    assert "1 added, 1 removed, 2 changed, 1 the same." in said
    assert "0 added, 0 removed, 0 changed, 4 the same." in tf.ok("data", "snapshots", "diff", two[0], two[0])
    assert "no snapshot" in tf.error("data", "snapshots", "diff", two[0], "ffffffff")["what"]


def test_diff_with_today_and_with_another_dataset(tf: Cli, store: Store, two: tuple[str, str]) -> None:
    assert "0 added, 0 removed, 0 changed, 4 the same." in tf.ok("data", "snapshots", "diff", two[1])
    found = tf.json("data", "snapshots", "diff", two[0])
    assert (found["after"], found["dataset"], found["same"]) == (None, "d", 1)
    assert [row["messages"][-2]["content"] for row in found["added"]] == ["New"]
    assert {"answer": "It [-is-]{+was+} 0."} in [each["words"] for each in found["changed"]]
    assert {"split": "train → test"} in [each["words"] for each in found["changed"]]
    uid = pairs.create(store, PairDraft("Elsewhere", "A"), dataset="other").uid
    found = tf.json("data", "snapshots", "diff", two[0], "--dataset", "other")
    assert (found["dataset"], len(found["added"]), len(found["removed"])) == ("other", 1, 4)
    pairs.set_status(store, [uid], "draft")
    assert "0 added, 4 removed" in tf.ok("data", "snapshots", "diff", two[0], "--dataset", "other")
    assert tf.error("data", "snapshots", "diff", *two, "--dataset", "other")["where"] == "--dataset"
    datasets.remove(store, "d")
    error = tf.error("data", "snapshots", "diff", two[0])
    assert "was removed" in error["what"] and "--dataset" in error["todo"]


def test_a_snapshot_of_preferences_is_compared_and_written_whole(tf: Cli, store: Store, tmp_path: Path) -> None:
    draft = PreferenceDraft((Turn("user", "Who?"),), "I am Ember.", "No one.")
    votes.import_preferences(store, [draft], dataset="p")
    frozen = preference_rows.freeze(store, "p", "preference")
    assert "0 added, 0 removed, 0 changed, 1 the same." in tf.ok("data", "snapshots", "diff", frozen.hash)
    other = PreferenceDraft((Turn("user", "Who?"),), "I am Ember.", "Nobody at all.")
    preference_rows.remove(store, [preference_rows.search(store, "", dataset="p")[0].uid])
    votes.import_preferences(store, [other], dataset="p")
    [changed] = tf.json("data", "snapshots", "diff", frozen.hash)["changed"]
    assert list(changed["words"]) == ["rejected"] and "Nobody" in changed["words"]["rejected"]
    file = tmp_path / "p.jsonl"
    tf.ok("data", "snapshots", "export", frozen.hash, str(file))
    assert json.loads(file.read_text())["rejected"] == "No one."


def test_list_names_the_runs(tf: Cli, store: Store, two: tuple[str, str]) -> None:
    runs.create(store, name="first", base="smollm2-135m", method="lora", snapshot=two[0], config={},
                config_hash="x", seed=0)  # fmt: skip
    listed = tf.json("data", "snapshots", "list", "--dataset", "d")
    assert [(each["hash"], each["runs"]) for each in listed] == [(two[1], []), (two[0], ["first"])]
    assert "first" in tf.ok("data", "snapshots", "list")


def test_restore_brings_back_content_and_splits(tf: Cli, store: Store, two: tuple[str, str]) -> None:
    done = tf.json("data", "snapshots", "restore", two[0], "again")
    assert done == {"dataset": "again", "new": 2, "known": 2}
    assert datasets.freeze(store, "again").hash == two[0], "the same content and splits"
    assert "already exists" in tf.error("data", "snapshots", "restore", two[0], "again")["what"]
    tf.ok("data", "undo")
    assert [each.name for each in datasets.all_datasets(store)] == ["d"]


def test_export_writes_the_frozen_rows(tf: Cli, two: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    assert tf.json("data", "snapshots", "export", two[0], str(file))["rows"] == 4
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["split"] for row in rows] == ["train"] * 3 + ["val"]
    assert rows[-1]["messages"][2] == {"role": "assistant", "content": "y", "weight": 0}
    assert "exists already" in tf.error("data", "snapshots", "export", two[0], str(file))["what"]
