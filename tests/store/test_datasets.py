"""Datasets: membership and splits, and snapshots that are the same wherever the content is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import datasets, pairs
from store.canon import canonical, sha256
from store.curate.split import assign
from store.db import Store
from store.errors import BadInput, Conflict, NotFound, UserError
from store.home import Home
from store.records import PairDraft, Turn


def fill(store: Store, name: str, count: int = 10, **more: str) -> list[str]:
    return pairs.create_many(store, [PairDraft(f"q{n}", f"a{n}", **more) for n in range(count)], dataset=name).uids  # type: ignore[arg-type]


def test_names(store: Store) -> None:
    assert datasets.create(store, "one", "first").description == "first"
    with pytest.raises(Conflict, match="'one'"):
        datasets.create(store, "one")
    for name in ("", "  ", "a\nb", "x" * 101):
        with pytest.raises(BadInput):
            datasets.create(store, name)
    with pytest.raises(NotFound) as caught:
        datasets.get(store, "onee")
    assert caught.value.todo and "one" in caught.value.todo
    assert datasets.ensure(store, "one").id == datasets.get(store, "one").id
    datasets.ensure(store, "two")
    assert datasets.rename(store, "two", "three").name == "three"
    with pytest.raises(Conflict):
        datasets.rename(store, "three", "one")
    assert [dataset.name for dataset in datasets.all_datasets(store)] == ["one", "three"]


def test_an_unknown_dataset_in_an_empty_store_says_how_to_make_one(store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        datasets.get(store, "any")
    assert caught.value.todo and "import" in caught.value.todo


def test_membership(store: Store) -> None:
    uids = fill(store, "a", 4)
    assert datasets.add(store, "b", uids[:3], split="test") == 3
    assert datasets.add(store, "b", uids[:3]) == 0
    assert datasets.drop(store, "b", uids[:1]) == 1
    assert datasets.set_split(store, "b", uids[1:2], "val") == 1
    found = datasets.get(store, "b")
    assert (found.pairs, found.ready, found.train, found.val, found.test) == (2, 2, 0, 1, 1)
    with pytest.raises(BadInput, match="not a split"):
        datasets.set_split(store, "b", uids, "exam")  # type: ignore[arg-type]
    datasets.remove(store, "b")
    assert pairs.count(store) == 4
    with pytest.raises(NotFound):
        datasets.members(store, "b")


def test_members_are_the_ready_ones_unless_said(store: Store) -> None:
    uids = fill(store, "a", 3)
    pairs.set_status(store, uids[:1], "draft")
    pairs.delete(store, uids[1:2])
    assert [pair.uid for pair, _ in datasets.members(store, "a")] == uids[2:]
    assert [pair.uid for pair, _ in datasets.members(store, "a", status=None)] == [uids[0], uids[2]]
    assert datasets.members(store, "a", split="val") == []


def test_resplit_is_the_same_again_and_keeps_questions_together(store: Store) -> None:
    drafts = [PairDraft(f"Question {n // 2}", f"answer {n}") for n in range(200)]
    pairs.create_many(store, drafts, dataset="d")
    counts = datasets.resplit(store, "d", val=0.2, test=0.1, seed=3)
    first = {pair.uid: split for pair, split in datasets.members(store, "d")}
    assert sum(counts.values()) == 200
    assert counts["val"] > 10 and counts["test"] > 4 and counts["train"] > 100
    assert datasets.resplit(store, "d", val=0.2, test=0.1, seed=3) == counts
    assert {pair.uid: split for pair, split in datasets.members(store, "d")} == first
    by_question: dict[str, set[str]] = {}
    for pair, split in datasets.members(store, "d"):
        by_question.setdefault(pair.question, set()).add(split)
    assert all(len(splits) == 1 for splits in by_question.values())
    datasets.resplit(store, "d", val=0.2, test=0.1, seed=4)
    assert {pair.uid: split for pair, split in datasets.members(store, "d")} != first
    with pytest.raises(BadInput, match="nothing to train on"):
        datasets.resplit(store, "d", val=0.7, test=0.3)


@given(st.lists(st.text("ab c", max_size=5), max_size=40), st.integers(0, 5))
def test_a_place_depends_on_the_words_alone(questions: list[str], seed: int) -> None:
    splits = assign(questions, val=0.3, test=0.2, seed=seed)
    place = dict(zip(questions, splits, strict=True))
    assert [place[question] for question in questions] == splits, "the same question, the same split"
    assert assign(questions[::-1], val=0.3, test=0.2, seed=seed) == splits[::-1]
    groups = {" ".join(question.casefold().split()) for question in questions}
    if len(groups) >= 12:
        assert set(splits) == {"train", "val", "test"}
    if questions:
        assert "train" in splits


def place(store: Store, name: str) -> dict[str, str]:
    """The split of each question of a dataset."""
    return {pair.question: split for pair, split in datasets.members(store, name, status=None)}


def test_what_came_with_a_split_stays_there(store: Store) -> None:
    fill(store, "d", 40)
    pairs.create_many(store, [PairDraft(f"exam {n}", "a") for n in range(5)], dataset="d", split="test")
    moved = pairs.create(store, PairDraft("moved by hand", "a"), dataset="d")
    datasets.set_split(store, "d", [moved.uid], "val")
    put = pairs.create(store, PairDraft("put there", "a"))
    datasets.add(store, "d", [put.uid], "val")
    for seed in range(4):
        counts = datasets.resplit(store, "d", val=0.3, seed=seed)
        now = place(store, "d")
        assert {now[f"exam {n}"] for n in range(5)} == {"test"} and counts["test"] == 5
        assert (now["moved by hand"], now["put there"]) == ("val", "val")
    assert datasets.pinned(store, "d") == {"test": 5, "val": 2}
    assert datasets.resplit(store, "d", val=0.0, all_pairs=True) == {"train": 47, "val": 0, "test": 0}
    assert datasets.pinned(store, "d") == {}
    pairs.undo(store)
    assert datasets.pinned(store, "d") == {"test": 5, "val": 2} and datasets.get(store, "d").test == 5


ALIKE = [
    ("Where is the café?", "where is the cafe\u0301"),
    (
        "How can I reset the password of my account when I forgot it",
        "how can I reset the password of my account when I forgot it please",
    ),
    ("请问怎么才能重置我的账户密码然后再登录系统呢谢谢", "请问怎么才能重置我的账户密码然后再登录系统呢"),
    ("ＡＢＣとは何ですか", "abcとは何ですか"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_questions_that_are_equal_or_nearly_never_straddle(store: Store, one: str, other: str) -> None:
    fill(store, "d", 30)
    made = pairs.create_many(store, [PairDraft(one, "a"), PairDraft(other, "b")], dataset="d").uids
    for seed in range(10):
        datasets.resplit(store, "d", val=0.4, test=0.2, seed=seed)
        assert len({place(store, "d")[text] for text in (one, other)}) == 1
    datasets.set_split(store, "d", made[:1], "test")
    for seed in range(3):
        datasets.resplit(store, "d", val=0.4, seed=seed)
        assert {place(store, "d")[text] for text in (one, other)} == {"test"}, "it goes where the fixed one is"


def test_other_numbers_and_signs_are_other_questions() -> None:
    texts = [f"What is {n} {sign} 7?" for n in range(40) for sign in "+-*"]
    assert len(set(assign(texts, val=0.4, test=0.2))) == 3


def test_a_known_pair_keeps_its_split_and_the_import_says_so(store: Store) -> None:
    drafts = [PairDraft("q", "a"), PairDraft("r", "a")]
    pairs.create_many(store, drafts[:1], dataset="d")
    again = pairs.create_many(store, drafts, dataset="d", split="val")
    assert again.elsewhere == {"train": 1} and place(store, "d") == {"q": "train", "r": "val"}


def test_the_same_content_is_the_same_snapshot_in_any_store(store: Store, tmp_path: Path) -> None:
    fill(store, "d", 12)
    frozen = datasets.freeze(store, "d")
    assert datasets.freeze(store, "d") == frozen, "frozen twice, kept once"
    assert (frozen.rows, frozen.splits, frozen.dataset) == (12, {"train": 12}, "d")
    with Store.open(Home(tmp_path / "other")) as other:
        for n in reversed(range(12)):
            pairs.create(other, PairDraft(f"q{n}", f"a{n}", source={"file": "x"}, tags=("t",)), dataset="else")
        again = datasets.freeze(other, "else")
        assert again.hash == frozen.hash
        messages = [row.messages for row in datasets.snapshot_rows(other, again.hash)]
        assert messages == [row.messages for row in datasets.snapshot_rows(store, frozen.hash)], "in the same order"


@pytest.mark.parametrize("change", ["answer", "split", "kind", "fewer"])
def test_other_content_is_another_snapshot(store: Store, change: str) -> None:
    uids = fill(store, "d", 5)
    before = datasets.freeze(store, "d").hash
    if change == "answer":
        pairs.edit(store, uids[0], answer="other")
    elif change == "split":
        datasets.set_split(store, "d", uids[:1], "val")
    elif change == "kind":
        pairs.edit(store, uids[0], kind="identity")
    else:
        pairs.set_status(store, uids[:1], "rejected")
    assert datasets.freeze(store, "d").hash != before


def test_a_snapshot_keeps_what_was_whatever_comes(store: Store) -> None:
    uids = fill(store, "d", 3)
    frozen = datasets.freeze(store, "d")
    rows = datasets.snapshot_rows(store, frozen.hash)
    pairs.edit(store, uids[0], answer="changed")
    pairs.delete(store, uids[1:])
    datasets.remove(store, "d")
    assert datasets.snapshot_rows(store, frozen.hash) == rows
    assert datasets.snapshot(store, frozen.hash[:8]).dataset is None
    assert {row.pair_uid for row in rows} == set(uids)
    assert all(row.messages[-1]["role"] == "assistant" for row in rows)


def test_snapshot_rows_by_split(store: Store) -> None:
    uids = fill(store, "d", 5)
    datasets.set_split(store, "d", uids[:2], "val")
    frozen = datasets.freeze(store, "d")
    assert frozen.splits == {"train": 3, "val": 2}
    assert {row.pair_uid for row in datasets.snapshot_rows(store, frozen.hash, "val")} == set(uids[:2])


def test_nothing_to_freeze_says_why(store: Store) -> None:
    datasets.create(store, "empty")
    fill(store, "drafts", 3, status="draft")
    uids = pairs.create_many(store, [PairDraft("x", "y")], dataset="val only", split="val").uids
    for name, said in (("empty", "is empty"), ("drafts", "3 drafts"), ("val only", "train split")):
        with pytest.raises(UserError, match=said) as caught:
            datasets.freeze(store, name)
        assert caught.value.todo
        assert caught.value.exit_code == 2
    assert uids
    with pytest.raises(NotFound, match="no snapshot"):
        datasets.snapshot(store, "abcd1234")


def test_a_snapshot_holds_the_messages_as_canonical_json_under_the_hash_it_always_had(store: Store) -> None:
    odd = '" \\ / \x01 \x1f \x7f \n\t\r\b\f é 模型 👍 \u2028'
    turns = (Turn("user", odd), Turn("assistant", "so", train=False), Turn("user", "and"), Turn("assistant", odd))
    drafts = [PairDraft(odd, "a", odd), PairDraft("q", odd, "", turns), PairDraft("q2", odd, "s", turns)]
    pairs.create_many(store, drafts, dataset="d")
    pairs.create_many(store, [PairDraft(f"v{n}", "a") for n in range(3)], dataset="d", split="val")
    frozen = datasets.freeze(store, "d")
    found = datasets.members(store, "d")
    bodies = dict(store.rows("SELECT hash, body FROM content"))
    assert bodies == {pair.content_hash: canonical(pair.training_messages()) for pair, _ in found}
    rows = sorted((split, pair.content_hash, pair.kind) for pair, split in found)
    assert frozen.hash == sha256(canonical(rows))
    assert [(row.split, row.content_hash, row.kind) for row in datasets.snapshot_rows(store, frozen.hash)] == rows


def test_counts_leave_out_what_is_deleted_and_say_what_is_ready(store: Store) -> None:
    one = fill(store, "d", 6)
    two = pairs.create_many(store, [PairDraft(f"other {n}", "a") for n in range(4)], dataset="e").uids
    datasets.add(store, "e", one[:2])
    datasets.set_split(store, "d", one[:3], "val")
    datasets.set_split(store, "d", one[3:4], "test")
    pairs.set_status(store, one[1:3], "draft")
    pairs.delete(store, [one[2], one[5], two[0]])
    counts = {d.name: (d.pairs, d.ready, d.train, d.val, d.test) for d in datasets.all_datasets(store)}
    assert counts == {"d": (4, 3, 1, 2, 1), "e": (5, 4, 5, 0, 0)}
    assert [datasets.get(store, name) for name in ("d", "e")] == datasets.all_datasets(store)
