"""Undo and redo against a model: whatever is done, going back and forth gives exactly the states that were."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from store import datasets, edits, feedback, pairs, votes
from store.db import Store
from store.home import Home
from store.records import FeedbackDraft, PairDraft, PreferenceDraft, Split, Status, Turn

State = dict[str, Any]
words = st.text("abcé xyz\n模", min_size=1, max_size=8).filter(str.strip)
names = st.sampled_from(["one", "two", "three"])
splits = st.sampled_from(["train", "val", "test"])


class Curating(RuleBasedStateMachine):
    """Changes pairs, datasets, splits and preferences; the model is a plain list of states with a place in it."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store.open(Home(Path(self.folder.name) / "home"))
        self.states: list[State] = [self.seen()]
        self.at = 0

    def seen(self) -> State:
        """All that is not derived: live pairs, datasets, memberships of live pairs, preferences."""
        pair = "SELECT uid, kind, system, history, question, answer, status, tags, source FROM pair"
        member = (
            "SELECT d.name, p.uid, m.split, m.pinned FROM dataset_pair m JOIN dataset d ON d.id = m.dataset_id"
            " JOIN pair p ON p.id = m.pair_id WHERE p.deleted_at IS NULL"
        )
        preference = (
            "SELECT p.uid, p.prompt, p.chosen, p.rejected, d.name FROM imported_preference p"
            " LEFT JOIN dataset d ON d.id = p.dataset_id"
        )
        queries = {"pairs": f"{pair} WHERE deleted_at IS NULL", "members": member, "preferences": preference}
        queries["feedback"] = "SELECT uid, prompt, answer, good, split, dataset_id FROM feedback"
        queries["datasets"] = "SELECT id, name, description, created_at FROM dataset"
        return {name: {tuple(row) for row in self.store.rows(sql)} for name, sql in queries.items()}

    def did(self) -> None:
        """Something new was done: what could be redone is gone."""
        now = self.seen()
        if now != self.states[self.at]:
            self.states = [*self.states[: self.at + 1], now]
            self.at += 1

    def uids(self) -> list[str]:
        return sorted(row[0] for row in self.states[self.at]["pairs"])

    def some(self, data: st.DataObject) -> list[str]:
        return sorted(data.draw(st.sets(st.sampled_from(self.uids()), min_size=1)))

    def a_dataset(self, data: st.DataObject) -> str:
        return str(data.draw(st.sampled_from(sorted(row[1] for row in self.states[self.at]["datasets"]))))

    def has_pairs(self) -> bool:
        return bool(self.states[self.at]["pairs"])

    def has_datasets(self) -> bool:
        return bool(self.states[self.at]["datasets"])

    @rule(drafts=st.lists(st.tuples(words, words), min_size=1, max_size=4), name=st.none() | names, split=splits)
    def create(self, drafts: list[tuple[str, str]], name: str | None, split: Split) -> None:
        """Known pairs join the dataset and make no second pair: undo must take them out again."""
        pairs.create_many(self.store, [PairDraft(q, a) for q, a in drafts], dataset=name, split=split)
        self.did()

    @precondition(has_pairs)
    @rule(data=st.data(), answer=words, tags=st.lists(words, max_size=2))
    def edit(self, data: st.DataObject, answer: str, tags: list[str]) -> None:
        uid = data.draw(st.sampled_from(self.uids()))
        assert pairs.edit(self.store, uid, answer=answer, tags=tuple(tags)).answer == answer
        self.did()

    @precondition(has_pairs)
    @rule(data=st.data(), status=st.sampled_from(["draft", "ready", "rejected"]))
    def mark(self, data: st.DataObject, status: Status) -> None:
        pairs.set_status(self.store, self.some(data), status)
        self.did()

    @precondition(has_pairs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        uids = self.some(data)
        assert pairs.delete(self.store, uids) == len(uids)
        self.did()

    @rule(name=names)
    def make_dataset(self, name: str) -> None:
        datasets.ensure(self.store, name)
        self.did()

    @precondition(has_datasets)
    @rule(data=st.data(), name=names)
    def rename_dataset(self, data: st.DataObject, name: str) -> None:
        if name not in {row[1] for row in self.states[self.at]["datasets"]}:
            datasets.rename(self.store, self.a_dataset(data), name)
            self.did()

    @precondition(has_datasets)
    @rule(data=st.data())
    def remove_dataset(self, data: st.DataObject) -> None:
        datasets.remove(self.store, self.a_dataset(data))
        self.did()

    @precondition(has_pairs)
    @rule(data=st.data(), name=names, split=splits)
    def join(self, data: st.DataObject, name: str, split: Split) -> None:
        datasets.add(self.store, name, self.some(data), split)
        self.did()

    @precondition(lambda self: self.has_pairs() and self.has_datasets())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        datasets.drop(self.store, self.a_dataset(data), self.some(data))
        self.did()

    @precondition(lambda self: self.has_pairs() and self.has_datasets())
    @rule(data=st.data(), split=splits)
    def move(self, data: st.DataObject, split: Split) -> None:
        datasets.set_split(self.store, self.a_dataset(data), self.some(data), split)
        self.did()

    @precondition(has_datasets)
    @rule(data=st.data(), val=st.sampled_from([0.0, 0.3, 0.5]), seed=st.integers(0, 3))
    def split_again(self, data: st.DataObject, val: float, seed: int) -> None:
        datasets.resplit(self.store, self.a_dataset(data), val=val, seed=seed)
        self.did()

    @rule(texts=st.lists(words, min_size=1, max_size=3), name=st.none() | names)
    def import_preferences(self, texts: list[str], name: str | None) -> None:
        drafts = [PreferenceDraft((Turn("user", text),), "good", "bad") for text in texts]
        votes.import_preferences(self.store, drafts, dataset=name)
        self.did()

    @rule(texts=st.lists(words, min_size=1, max_size=3), name=st.none() | names, good=st.booleans())
    def import_feedback(self, texts: list[str], name: str | None, good: bool) -> None:
        drafts = [FeedbackDraft((Turn("user", text),), "an answer", good) for text in texts]
        feedback.add_feedback(self.store, drafts, dataset=name)
        self.did()

    @rule(name=names, text=words)
    def several_in_one(self, name: str, text: str) -> None:
        """What one action does is one edit, also when it changes the same pair twice."""
        with edits.recording(self.store, "several"):
            pair = pairs.create(self.store, PairDraft(text, "first"), dataset=name)
            pairs.edit(self.store, pair.uid, answer="second")
            pairs.set_status(self.store, [pair.uid], "rejected")
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
            assert len(edits.undoable(self.store)) == min(50, self.at)
            assert self.store.scalar("SELECT count(*) FROM open_edit") == 0

    @invariant()
    def revisions_are_consecutive_and_end_with_the_pair(self) -> None:
        for uid in self.uids()[:2] if hasattr(self, "states") else []:
            history = pairs.revisions(self.store, uid)
            assert [pair.revision for pair in history] == list(range(1, len(history) + 1))
            assert history[-1].content_hash == pairs.get(self.store, uid).content_hash

    def teardown(self) -> None:
        """Undoing all gives the empty store that it began with."""
        if hasattr(self, "store"):
            while edits.undo(self.store):
                pass
            assert {name: rows for name, rows in self.seen().items() if rows} == {}
            assert self.store.integrity() == []
            self.store.close()
            self.folder.cleanup()


TestCurating = Curating.TestCase
TestCurating.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
