"""Feedback: judged answers are kept once in a dataset, found again, and an older store learns to keep them."""

from __future__ import annotations

import pytest

from store import datasets, feedback, pairs
from store.db import Store
from store.errors import BadInput
from store.home import Home
from store.records import FeedbackDraft, Turn
from tests.store.old_store import V1_PAIRS, first_version, insert_v1_pairs

ASKED = (Turn("system", "Be brief."), Turn("user", "How far is the moon?"))


def test_a_judgement_is_kept_once_in_each_dataset(store: Store) -> None:
    bad = FeedbackDraft(ASKED, "Five miles.", False, {"file": "f.jsonl", "line": 3})
    good = FeedbackDraft(ASKED, "384,400 km.", True)
    assert feedback.add_feedback(store, [bad, good, bad], dataset="d", split="val") == (2, 1)
    assert feedback.add_feedback(store, [bad], dataset="d") == (0, 1)
    assert feedback.add_feedback(store, [bad], dataset="e") == (1, 0), "another dataset is another place"
    first, second = feedback.list_feedback(store, "d")
    assert (first.answer, first.good, first.split, first.source) == (
        "Five miles.", False, "val", {"file": "f.jsonl", "line": 3}
    )  # fmt: skip
    assert first.prompt == [turn.message() for turn in ASKED] and second.good
    assert (feedback.count_feedback(store), feedback.count_feedback(store, "d")) == (3, 2)
    assert [each.answer for each in feedback.list_feedback(store, "d", "train")] == []


def test_the_same_answer_judged_both_ways_is_two_judgements(store: Store) -> None:
    both = [FeedbackDraft(ASKED, "Far.", good) for good in (True, False)]
    assert feedback.add_feedback(store, both, dataset="d") == (2, 0)


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (FeedbackDraft(ASKED, " ", False), "answer"),
        (FeedbackDraft((), "a", False), "prompt"),
        (FeedbackDraft((*ASKED, Turn("assistant", "x")), "a", True), "prompt"),
        (FeedbackDraft((Turn("user", "q\0"),), "a", True), "prompt"),
    ],
)
def test_what_cannot_be_kept_is_named_and_nothing_is_kept(store: Store, draft: FeedbackDraft, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        feedback.add_feedback(store, [FeedbackDraft(ASKED, "a", True), draft], dataset="d")
    assert caught.value.where == field
    assert feedback.count_feedback(store) == 0 and datasets.all_datasets(store) == []


def test_a_store_of_version_one_keeps_its_rows(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with first_version(home, monkeypatch) as old, old.write() as conn:
        insert_v1_pairs(conn)
    with Store.open(home) as store:
        assert [pair.question for pair in pairs.page(store, [1, 2])] == [row[4] for row in V1_PAIRS]
        assert feedback.add_feedback(store, [FeedbackDraft(ASKED, "a", False)], dataset="d") == (1, 0)
        assert store.integrity() == []
    assert list(home.root.glob("store-v1-*.db")), "the older store was copied first"
