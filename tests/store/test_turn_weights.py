"""Turns that are context only: kept in pairs, revisions and snapshots; rows without one keep their bytes and hashes."""

from __future__ import annotations

from dataclasses import replace

from store import datasets, pairs
from store.canon import canonical, content_hash
from store.db import Store
from store.records import PairDraft, Turn

TALK = (Turn("user", "Hi"), Turn("assistant", "Go away.", train=False), Turn("user", "?"), Turn("assistant", "Sorry."))


def test_a_context_turn_survives_the_store_and_its_snapshot(store: Store) -> None:
    pair = pairs.create(store, PairDraft("Who?", "Ember.", history=TALK), dataset="d")
    assert pairs.get(store, pair.uid).history == TALK
    assert all("weight" not in message for message in pair.messages()), "what a model is shown has no weights"
    frozen = datasets.snapshot_rows(store, datasets.freeze(store, "d").hash)[0]
    assert [m.get("weight") for m in frozen.messages] == [None, 0, None, None, None, None]
    assert content_hash(frozen.messages) == frozen.content_hash
    pairs.edit(store, pair.uid, answer="I am Ember.")
    assert [each.history for each in pairs.revisions(store, pair.uid)] == [TALK, TALK]


def test_the_weight_is_part_of_what_a_row_says() -> None:
    plain = [replace(turn, train=True) for turn in TALK]
    assert content_hash([t.message() for t in TALK]) != content_hash([t.message() for t in plain])
    asked = [Turn("user", "Hi", train=False), *plain[1:]]
    assert [t.message() for t in asked] == [t.message() for t in plain], "a question is never trained anyway"


def test_rows_without_a_weight_are_written_as_ever() -> None:
    messages = [Turn("user", "Hi").message(), Turn("assistant", "Hello").message()]
    assert canonical(messages) == '[{"content":"Hi","role":"user"},{"content":"Hello","role":"assistant"}]'
    assert content_hash(messages) == "99c87cbcecd18c3405b9f9d79fe1b3f8eec8cf1c2f6846459c53ac8560c929b6"
