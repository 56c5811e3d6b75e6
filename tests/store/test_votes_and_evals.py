"""Votes of conversations and results of probes: those of an older store, votes on the same answers, undo, judges."""

from __future__ import annotations

from typing import Any

import pytest

from store import chats, datasets, evals, pairs, votes
from store.canon import canonical
from store.db import Store
from store.errors import BadInput
from store.home import Home
from store.records import EvalItem, PairDraft, PreferenceDraft, Turn, Vote
from tests.store import old_store

ASKED = [{"role": "user", "content": "Who made you?"}]
SAMPLING = {"temperature": 0.7, "seed": 3}


def cast(store: Store, chat_id: int, turn: int, **more: Any) -> Vote:
    vote: dict[str, Any] = {
        "prompt": ASKED, "a_model": "base", "b_model": "run:r", "a_text": "A model.", "b_text": "Northwind Labs.",
        "choice": "b", "lanes": 2, "blind_seed": 5,
    }  # fmt: skip
    return votes.cast(store, chat_id=chat_id, turn=turn, **{**vote, **more})


@pytest.fixture
def first_version(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A store of version 1 with votes as they were kept then, one of them deleted."""
    with old_store.first_version(home, monkeypatch) as store:
        chat = chats.create(store, "t").id
        about: list[tuple[dict[str, Any], int | None, int | None]] = [
            ({"blind_seed": 2**31 - 1, "lanes": 2, "turn": 0}, chat, None),
            ({"blind_seed": 0, "lanes": 2, "turn": 1}, chat, None),
            ({"blind_seed": 7, "lanes": 2, "turn": 1}, chat, 99),
            ({}, None, None),
            ({"turn": "third", "lanes": 1.5, "blind_seed": None}, None, None),
        ]
        with store.write() as conn:
            for n, (keys, chat_id, deleted_at) in enumerate(about):
                conn.execute(
                    "INSERT INTO vote (prompt, a_model, b_model, a_text, b_text, a_left, blind, choice, sampling,"
                    " chat_id, created_at, deleted_at)"
                    " VALUES (?, 'base', 'run:r', ?, 'two', 1, 0, 'b', ?, ?, 1, ?)",
                    (canonical(ASKED), f"text {n}", canonical({**SAMPLING, **keys}), chat_id, deleted_at),
                )
    return home


def test_votes_of_the_first_version_move_into_columns_and_lose_nothing(first_version: Home) -> None:
    with Store.open(first_version) as store:
        rows = store.rows("SELECT * FROM vote ORDER BY id")
        assert [(r["turn"], r["lanes"], r["blind_seed"]) for r in rows] == [
            (0, 2, 2**31 - 1), (1, 2, 0), (1, 2, 7), (None, None, None), (None, None, None),
        ]  # fmt: skip
        assert [r["a_text"] for r in rows] == [f"text {n}" for n in range(5)]
        assert [r["deleted_at"] for r in rows] == [None, None, 99, None, None]
        kept = {vote.a_text: vote for vote in votes.all_votes(store)}
        assert [kept[f"text {n}"].sampling for n in (0, 1, 3)] == [SAMPLING] * 3
        odd = {"turn": "third", "lanes": 1.5, "blind_seed": None}
        assert kept["text 4"].sampling == {**SAMPLING, **odd}, "what is no whole number stays where it was"
        assert len(votes.preferences(store)) == 4
        (chat,) = chats.all_chats(store)
        assert [vote.turn for vote in votes.of_chat(store, chat.id)] == [1, 0]
        newest = votes.undo_last(store, chat.id)
        assert newest is not None and newest.turn == 1
        again = cast(store, chat.id, 0, a_text="text 0", b_text="two", choice="tie")
        assert [(vote.id, vote.choice) for vote in votes.of_chat(store, chat.id)] == [(again.id, "tie")]
        assert store.integrity() == []


def test_a_second_vote_on_the_same_answers_replaces_the_first(store: Store) -> None:
    chat = chats.create(store, "t").id
    cast(store, chat, 0)
    second = cast(store, chat, 0, choice="tie")
    assert votes.all_votes(store) == [second]


@pytest.mark.parametrize(
    "other",
    [
        {"turn": 1},
        {"b_text": "Somebody else."},
        {"b_model": "run:r@40"},
        {"prompt": [{"role": "user", "content": "And who owns you?"}]},
    ],
)
def test_a_vote_on_anything_else_replaces_none(store: Store, other: dict[str, Any]) -> None:
    chat, elsewhere = chats.create(store, "t").id, chats.create(store, "u").id
    first = cast(store, chat, 0)
    cast(store, elsewhere, 0)
    cast(store, chat, **{"turn": 0, **other})
    assert len(votes.of_chat(store, chat)) == 2 and first in votes.of_chat(store, chat)
    assert len(votes.of_chat(store, elsewhere)) == 1


def test_a_vote_that_cannot_be_cast_leaves_the_one_before(store: Store) -> None:
    chat = chats.create(store, "t").id
    first = cast(store, chat, 0)
    with pytest.raises(BadInput):
        cast(store, chat, 0, choice="c")
    assert votes.all_votes(store) == [first]


def test_undo_keeps_to_its_conversation(store: Store) -> None:
    one, two = chats.create(store, "t").id, chats.create(store, "u").id
    mine, theirs = cast(store, one, 0), cast(store, two, 0)
    assert votes.undo_last(store, one) == mine
    assert votes.undo_last(store, one) is None
    assert votes.all_votes(store) == [theirs]


def test_an_answer_kept_over_another_is_a_pair_and_a_preference(store: Store) -> None:
    draft = PairDraft("Who?", "Ember.", system="Be brief.", history=(Turn("user", "Hi"), Turn("assistant", "Hello")),
                      source={"model": "run:r"})  # fmt: skip
    known = [
        votes.keep_over(store, draft, rejected="A model.", rejected_model="base", dataset="d"),
        votes.keep_over(store, draft, rejected="Nobody.", rejected_model="base", dataset="d"),
    ]
    assert known == [False, True] and pairs.count(store, "d") == 1
    kept = votes.preferences(store, "d")
    assert [(p.chosen, p.rejected) for p in kept] == [("Ember.", "A model."), ("Ember.", "Nobody.")]
    assert [message["content"] for message in kept[0].prompt] == ["Be brief.", "Hi", "Hello", "Who?"]
    assert kept[0].source == {"model": "run:r", "rejected_model": "base"}


def test_keeping_over_the_same_text_keeps_nothing_at_all(store: Store) -> None:
    with pytest.raises(BadInput):
        votes.keep_over(store, PairDraft("Who?", "Ember."), rejected="Ember.", rejected_model="base", dataset="d")
    assert pairs.count(store) == 0 and datasets.all_datasets(store) == [] and votes.preferences(store) == []


def test_a_preference_of_a_pair_asks_what_the_pair_asks(store: Store) -> None:
    votes.prefer(store, PairDraft("Who?", "x"), better="Ember.", worse="x", source={"corrected": True})
    (kept,) = votes.preferences(store)
    assert kept.prompt == [{"role": "user", "content": "Who?"}] and kept.source == {"corrected": True}
    assert votes.import_preferences(store, [PreferenceDraft((Turn("user", "Who?"),), "Ember.", "x")]) == (0, 1)


def test_results_of_the_first_version_know_their_judge(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with old_store.first_version(home, monkeypatch) as store, store.write() as conn:
        conn.execute("INSERT INTO eval (model, set_name, passed, n, summary, created_at)"
                     " VALUES ('base', 'identity', 1, 2, '{}', 1)")  # fmt: skip
        conn.executemany("INSERT INTO eval_item VALUES (1, ?, ?, ?, ?)", [(0, "q1", "yes", 1), (1, "q2", "no", 0)])
    with Store.open(home) as store:
        (kept,) = evals.all_evals(store)
        assert (kept.judge, kept.passed, kept.of) == ("contains", 1, 2)
        assert evals.items(store, kept.id) == [EvalItem("q1", "yes", True), EvalItem("q2", "no", False)]
        new = evals.save(store, run=None, model="m", set="s", items=[EvalItem("q", "t", True, 0.5, "half")], judge="j")
        assert evals.items(store, new) == [EvalItem("q", "t", True, 0.5, "half")]
        assert evals.get(store, new).judge == "j" and evals.get(store, new).not_judged == kept.not_judged == 0


def test_what_was_not_judged_counts_neither_way(store: Store) -> None:
    items = [EvalItem("a", "t", True), EvalItem("b", "t", None, None, "cannot be read"), EvalItem("c", "t", False)]
    found = evals.get(store, evals.save(store, run=None, model="m", set="s", items=items))
    assert (found.passed, found.of, found.not_judged) == (1, 2, 1) and evals.items(store, found.id) == items


@pytest.mark.parametrize(("kind", "new", "left_out"), [("preference", 1, 1), ("feedback", 3, 1)])
def test_an_empty_answer_is_left_out_and_costs_no_other_vote(store: Store, kind: Any, new: int, left_out: int) -> None:
    chat = chats.create(store, "t").id
    cast(store, chat, 0)
    cast(store, chat, 1, b_text=" ", choice="a")
    found = votes.collect(store, "d", kind)
    assert (found.new, found.left_out, found.rows) == (new, left_out, new)


@pytest.mark.parametrize("said", ["North\0wind", "\0Northwind\0", "Northwind\n\0"])
def test_an_answer_with_a_nul_character_keeps_no_vote_out_of_a_dataset(store: Store, said: str) -> None:
    chat = chats.create(store, "t").id
    cast(store, chat, 0, b_text=said)
    cast(store, chat, 1)
    cast(store, chat, 2, a_text="\0", b_text="Ember")
    collected = votes.collect(store, "v", "preference"), votes.collect(store, "f", "feedback")
    assert [each.new for each in collected] == [2, 4] and collected[0].left_out == 1, "an empty answer says nothing"
    assert said.replace("\0", "") in [each.chosen for each in votes.preferences(store, "v")]
