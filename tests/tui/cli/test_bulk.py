"""`data change`, `replace`, `copy` and `restore` as scripts and users meet them."""

from __future__ import annotations

import pytest

from store import datasets, pairs
from store.db import Store
from store.records import PairDraft
from tests.tui.cli.conftest import Cli


@pytest.fixture
def uids(store: Store) -> list[str]:
    drafts = [PairDraft(f"Is it {n}?", f"It is {n} at Acme.") for n in range(3)]
    return pairs.create_many(store, drafts, dataset="shop").uids


def test_change_by_query_and_by_uid(tf: Cli, store: Store, uids: list[str]) -> None:
    done = tf.json("data", "change", "--where", "dataset:shop", "--tag", "a", "--tag", "b", "--status", "draft")
    assert done == {"pairs": 3, "changed": 3, "joined": 0, "moved": 0}
    tf.ok("data", "change", uids[0], "--untag", "a", "--dataset", "new", "--split", "val")
    assert pairs.get(store, uids[0]).tags == ("b",) and datasets.of(store, uids[0])[0] == ("new", "val")
    assert "nothing to change" in tf.error("data", "change", uids[0])["what"]
    tf.ok("data", "undo")
    tf.ok("data", "undo")
    assert pairs.get(store, uids[0]).tags == ()


def test_replace_shows_before_it_changes(tf: Cli, store: Store, uids: list[str]) -> None:
    words = ("data", "replace", "Acme", "Ember", "--where", "dataset:shop")
    seen = tf.ok(*words, "--dry-run")
    assert "[-Acme-]{+Ember+}" in seen and "3 places in 3 pairs would be replaced" in seen
    assert pairs.get(store, uids[0]).answer == "It is 0 at Acme."
    assert tf.json(*words)["pairs"] == 3
    assert pairs.get(store, uids[0]).answer == "It is 0 at Ember."
    tf.ok("data", "replace", "--regex", r"It is (\d)", r"\1 it is", uids[1], "--field", "answer")
    assert pairs.get(store, uids[1]).answer == "1 it is at Ember."
    assert "regular expression" in tf.error("data", "replace", "--regex", "(", "", uids[1])["what"]


def test_copy_and_restore(tf: Cli, store: Store, uids: list[str]) -> None:
    copy = tf.json("data", "copy", uids[0])
    assert copy["status"] == "draft" and copy["question"] == "Is it 0?"
    tf.ok("data", "edit", uids[0], "--answer", "No.")
    history = tf.ok("data", "show", uids[0], "--history")
    assert "revision 2" in history and "answer  [-It" in history and "question  Is it 0?" in history
    assert tf.json("data", "restore", uids[0], "1")["answer"] == "It is 0 at Acme."
    assert "as it was in revision 1 already" in tf.ok("data", "restore", uids[0], "1")
    assert "no revision 9" in tf.error("data", "restore", uids[0], "9")["what"]
