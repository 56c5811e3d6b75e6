"""Duplicates decided one by one: groups, keeping one, merging, telling apart, each undone; and more like this."""

from __future__ import annotations

import pytest

from store import alike, datasets, duplicate_groups, edits, pairs, review, search_text
from store.db import Store
from store.errors import BadInput, Conflict, NotFound
from store.records import PairDraft, Split

LONG = "one two three four five six seven eight nine ten"
OTHER = "sun moon star sky night day dawn sea sand wind rain snow ice fire wood stone grass leaf"


def add(store: Store, question: str, *, answer: str = "So.", split: Split = "train", tags: tuple[str, ...] = ()) -> str:
    return pairs.create(store, PairDraft(question, answer, tags=tags), dataset="d", split=split).uid


def uids(group: duplicate_groups.SimilarGroup) -> list[str]:
    return [pair.uid for pair in group.pairs]


def homes(store: Store, uid: str) -> dict[str, Split]:
    return dict(datasets.of(store, uid))


class TestGroups:
    def test_the_same_texts_come_first_then_the_most_alike(self, store: Store) -> None:
        far = [add(store, LONG), add(store, LONG.replace("ten", "zen"))]
        near = [add(store, f"{OTHER} {end}") for end in ("dusk", "dust")]
        same = [add(store, "What is it?"), add(store, "what is it")]
        found = duplicate_groups.find(store, "d", near=0.5)
        assert [uids(group) for group in found] == [same, near, far]
        assert [group.exact for group in found] == [True, False, False]
        assert (found[0].alike, found[0].least) == ((1.0, 1.0), 1.0)
        assert found[1].alike[0] == 1.0 and 1 > found[1].least > found[2].least >= 0.5
        assert [uids(group) for group in duplicate_groups.find(store, "d")] == [same]

    def test_a_group_without_one_of_its_pairs(self, store: Store) -> None:
        same = [add(store, "What?"), add(store, "what"), add(store, "WHAT")]
        [group] = duplicate_groups.find(store, "d")
        smaller = duplicate_groups.without(group, same[0])
        assert smaller is not None and uids(smaller) == same[1:]
        assert duplicate_groups.without(smaller, same[1]) is None


class TestKeeping:
    def test_one_stays_and_all_is_one_edit(self, store: Store) -> None:
        first, second, third = add(store, "What?"), add(store, "what"), add(store, "WHAT")
        datasets.add(store, "other", [third])
        [group] = duplicate_groups.find(store, "d")
        done = duplicate_groups.keep(store, "d", group, second)
        assert (done.deleted, done.taken_out) == (1, 1)
        assert [pair.uid for pair, _ in datasets.members(store, "d")] == [second] and homes(store, third) == {
            "other": "train"
        }
        with pytest.raises(NotFound):
            pairs.get(store, first)
        edits.undo(store)
        assert len(datasets.members(store, "d")) == 3

    def test_a_pair_that_changed_meanwhile_is_not_dropped(self, store: Store) -> None:
        first, second = add(store, "What?"), add(store, "what")
        [group] = duplicate_groups.find(store, "d")
        pairs.edit(store, second, answer="Another one.")
        for decide in (
            lambda: duplicate_groups.keep(store, "d", group, first),
            lambda: duplicate_groups.merge(store, group, first),
        ):
            with pytest.raises(Conflict, match=second):
                decide()
        assert len(datasets.members(store, "d")) == 2 and pairs.get(store, first).revision == 1


class TestMerging:
    def test_tags_and_datasets_are_united_as_one_edit(self, store: Store) -> None:
        kept = add(store, "What?", tags=("a",), split="val")
        second, third = add(store, "what", tags=("b", "a")), add(store, "WHAT", tags=("c",))
        datasets.add(store, "more", [second], "test")
        datasets.add(store, "more", [third], "val")
        [group] = duplicate_groups.find(store, "d")
        before = len(edits.undoable(store))
        done = duplicate_groups.merge(store, group, kept)
        assert (done.tags, done.datasets, done.deleted) == (("b", "c"), ("more",), 2)
        assert pairs.get(store, kept).tags == ("a", "b", "c")
        assert homes(store, kept) == {"d": "val", "more": "val"}, "its own split stays, val goes before test"
        assert len(edits.undoable(store)) == before + 1
        edits.undo(store)
        assert pairs.get(store, kept).tags == ("a",) and homes(store, kept) == {"d": "val"}
        assert homes(store, second) == {"d": "train", "more": "test"} and len(datasets.members(store, "d")) == 3

    def test_the_same_tags_and_datasets_only_delete(self, store: Store) -> None:
        kept, _ = add(store, "What?"), add(store, "what")
        [group] = duplicate_groups.find(store, "d")
        assert duplicate_groups.merge(store, group, kept) == duplicate_groups.Merged((), (), 1)
        assert pairs.get(store, kept).revision == 1


class TestTellingApart:
    def test_only_what_was_new_is_forgotten_again(self, store: Store) -> None:
        one, two, three = add(store, "What?"), add(store, "what"), add(store, "WHAT")
        review.keep_apart(store, [one, two])
        assert duplicate_groups.tell_apart(store, three, [one, two]) == sorted(
            [(min(three, one), max(three, one)), (min(three, two), max(three, two))]
        )
        assert duplicate_groups.find(store, "d") == []
        duplicate_groups.forget(store, [(min(three, one), max(three, one))])
        assert [uids(group) for group in duplicate_groups.find(store, "d")] == [[one, three]]
        assert duplicate_groups.tell_all_apart(store, [one, two, three]) == [(min(three, one), max(three, one))]
        assert duplicate_groups.find(store, "d") == []

    def test_a_huge_group_is_refused(self, store: Store) -> None:
        with pytest.raises(BadInput, match="101 pairs"):
            duplicate_groups.tell_all_apart(store, [f"u{n}" for n in range(101)])


class TestAlike:
    def test_the_pairs_with_most_words_in_common_come_first(self, store: Store) -> None:
        wanted = add(store, "How do I reset my password?", answer="Open the settings, then press Reset.")
        close = add(store, "I lost the password, how can I reset it?", answer="In the settings.")
        other = add(store, "Where is my parcel?", answer="On its way.")
        gone = add(store, "How do I reset my password now?", answer="Open the settings.")
        pairs.delete(store, [gone])
        found = alike.alike(store, wanted)
        assert [pair.uid for pair, _ in found] == [close, other]
        assert 1 > found[0][1] > found[1][1] > 0
        assert [pair.uid for pair, _ in alike.alike(store, wanted, limit=1)] == [close]

    def test_scripts_without_spaces(self, store: Store) -> None:
        wanted, close = (
            add(store, "怎么重置密码？", answer="打开设置。"),
            add(store, "密码怎么重置", answer="在设置里。"),
        )
        add(store, "包裹在哪里？", answer="在路上。")
        assert next(pair.uid for pair, _ in alike.alike(store, wanted)) == close

    def test_a_pair_without_words(self, store: Store) -> None:
        assert alike.alike(store, add(store, "?!", answer='"')) == []
        assert search_text.any_of('say "this" twice this') == '"say" OR "this" OR "twice"'
