"""Undo and redo against a model: whatever a person does, going back and forth gives exactly the states that were."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from store import pairs
from store.db import Store
from store.home import Home
from store.records import PairDraft

State = dict[str, tuple[str, str, str]]
"""What a person sees: uid -> question, answer, status of each live pair."""
words = st.text("abcé xyz\n", min_size=1, max_size=8).filter(str.strip)


class Curating(RuleBasedStateMachine):
    """Makes, edits, marks and deletes pairs; the model is a plain list of states with a place in it."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store.open(Home(Path(self.folder.name) / "home"))
        self.states: list[State] = [{}]
        self.at = 0

    def seen(self) -> State:
        found = pairs.page(self.store, pairs.search_ids(self.store))
        return {pair.uid: (pair.question, pair.answer, pair.status) for pair in found}

    def did(self) -> None:
        """Something new was done: what could be redone is gone."""
        now = self.seen()
        if now != self.states[self.at]:
            self.states = [*self.states[: self.at + 1], now]
            self.at += 1

    @rule(drafts=st.lists(st.tuples(words, words), min_size=1, max_size=4))
    def create(self, drafts: list[tuple[str, str]]) -> None:
        pairs.create_many(self.store, [PairDraft(q, a) for q, a in drafts])
        self.did()

    @precondition(lambda self: self.states[self.at])
    @rule(data=st.data(), answer=words)
    def edit(self, data: st.DataObject, answer: str) -> None:
        uid = data.draw(st.sampled_from(sorted(self.states[self.at])))
        assert pairs.edit(self.store, uid, answer=answer).answer == answer
        self.did()

    @precondition(lambda self: self.states[self.at])
    @rule(data=st.data(), status=st.sampled_from(["draft", "ready", "rejected"]))
    def mark(self, data: st.DataObject, status: str) -> None:
        uids = data.draw(st.sets(st.sampled_from(sorted(self.states[self.at])), min_size=1))
        pairs.set_status(self.store, sorted(uids), status)  # type: ignore[arg-type]
        self.did()

    @precondition(lambda self: self.states[self.at])
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        uids = data.draw(st.sets(st.sampled_from(sorted(self.states[self.at])), min_size=1))
        assert pairs.delete(self.store, sorted(uids)) == len(uids)
        self.did()

    @rule()
    def undo(self) -> None:
        assert (pairs.undo(self.store) is None) == (self.at == 0)
        self.at = max(0, self.at - 1)

    @rule()
    def redo(self) -> None:
        last = len(self.states) - 1
        assert (pairs.redo(self.store) is None) == (self.at == last)
        self.at = min(last, self.at + 1)

    @invariant()
    def the_store_shows_the_state(self) -> None:
        if hasattr(self, "store"):
            assert self.seen() == self.states[self.at]
            assert pairs.count(self.store) == len(self.states[self.at])

    @invariant()
    def revisions_are_consecutive_and_end_with_the_pair(self) -> None:
        for uid in list(self.states[self.at] if hasattr(self, "states") else {})[:2]:
            history = pairs.revisions(self.store, uid)
            assert [pair.revision for pair in history] == list(range(1, len(history) + 1))
            assert history[-1].content_hash == pairs.get(self.store, uid).content_hash

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.store.integrity() == []
            self.store.close()
            self.folder.cleanup()


TestCurating = Curating.TestCase
TestCurating.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
