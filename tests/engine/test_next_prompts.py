"""Which prompts to vote on next: how far two answers differ, and where answers in the store come from."""

from __future__ import annotations

from typing import Any

import pytest

from engine.evaluation.next_prompts import dataset_questions, difference, proposed
from engine.evaluation.prompt_sets import PromptEntry
from store import chats, datasets, pairs, votes
from store.db import Store
from store.lone_answers import lone_answers
from store.records import PairDraft, Turn

A, B = "base", "run:x"


def answer(
    store: Store, asked: str, *texts: tuple[str, str], system: str = "", state: str = "done", **stats: Any
) -> None:
    """A conversation with this prompt, and answers as (model, text)."""
    chat = chats.create(store, "t", {"system": system}).id
    question = chats.append(store, chat, "user", asked).id
    for model, text in texts:
        chats.append(store, chat, "assistant", text, parent_id=question, lane="a", model=model, sampling={},
                     stats={"state": state, **stats})  # fmt: skip


@pytest.mark.parametrize(
    ("one", "two", "share"),
    [
        ("I am Ember.", "i am ember", 0.0),
        ("I am a base model.", "I am Ember.", 0.5),
        ("我是小焰", "我是模型", 0.5),
        ("我是小焰", "Paris", 1.0),
        ("", "Paris", 1.0),
        ("!", "!", 0.0),
        ("!", "?", 1.0),
    ],
)
def test_how_far_two_answers_differ(one: str, two: str, share: float) -> None:
    assert difference(one, two) == share == difference(two, one)


def test_the_most_different_come_first_and_the_same_last(store: Store) -> None:
    prompts = [PromptEntry(text) for text in ("same", "unknown", "half", "whole", "voted", "half")]
    answer(store, "same", (A, "Yes."), (B, "Yes."))
    answer(store, "half", (A, "I am a base model."), (B, "I am Ember."))
    answer(store, "whole", (A, "no"), (B, "yes"))
    answer(store, "voted", (A, "no"), (B, "yes"))
    votes.add(store, prompt=prompts[4].messages(), a_model=B, b_model=A, a_text="x", b_text="y", choice="tie")
    votes.add(store, prompt=prompts[3].messages(), a_model=B, b_model="other", a_text="x", b_text="y", choice="tie")
    found = proposed(store, prompts, A, B)
    assert [(each.prompt.text, each.place, each.difference) for each in found] == [
        ("whole", 4, 1.0), ("half", 3, 0.5), ("unknown", 2, None), ("same", 1, 0.0),
    ]  # fmt: skip


def test_only_whole_answers_to_that_question_alone_count(store: Store) -> None:
    answer(store, "stopped", (A, "a"), state="stopped")
    answer(store, "forked", (A, "a"), fork={"token": 1})
    answer(store, "few-shot", ("base + 3 examples", "a"))
    answer(store, "system", (A, "a"), system="Be brief.")
    answer(store, "again", (A, "old"))
    answer(store, "again", (A, "new"))
    chat = chats.create(store, "t").id
    first = chats.append(store, chat, "user", "first").id
    second = chats.append(store, chat, "assistant", "x", parent_id=first, model=A, stats={"state": "done"}).id
    later = chats.append(store, chat, "user", "later", parent_id=second).id
    chats.append(store, chat, "assistant", "y", parent_id=later, model=A, stats={"state": "done"})
    assert lone_answers(store, (A, B)) == {
        (A, ("Be brief.", "system")): "a", (A, ("", "again")): "new", (A, ("", "first")): "x",
    }  # fmt: skip


def test_answers_of_evaluations_count_without_contexts(store: Store) -> None:
    with store.write() as conn:
        conn.execute("INSERT INTO evaluation (id, name, kind, plan, created_at) VALUES (1, 'e', 'evaluation', '{}', 1)")
        for ord, messages in enumerate(('[{"role":"user","content":"Who?"}]', '[{"role":"assistant","content":"x"}]')):
            conn.execute("INSERT INTO evaluation_row VALUES (1, ?, 'test', ?, NULL, '{}')", (ord, messages))
        for side, (model, role, context) in enumerate(
            [(A, "against", "{}"), (B, "model", '{"kind":"none"}'), (A, "floor", "{}"), (B, "other", '{"kind":"few"}')]
        ):
            conn.execute(
                "INSERT INTO evaluation_side VALUES (1, ?, 's', ?, ?, ?, '{}', 'i')", (side, model, role, context)
            )
            for ord in range(2):
                conn.execute(
                    "INSERT INTO evaluation_answer"
                    " (evaluation_id, side, ord, text, stop, tokens, prompt_tokens, seconds)"
                    " VALUES (1, ?, ?, ?, 'end', 1, 1, 1.0)",
                    (side, ord, f"{side}"),
                )
    assert lone_answers(store, (A, B)) == {(A, ("", "Who?")): "0", (B, ("", "Who?")): "1"}
    (found,) = proposed(store, [PromptEntry("Who?")], A, B)
    assert found.difference == 1.0


def test_the_test_questions_of_a_dataset(store: Store) -> None:
    earlier = (Turn("user", "Hi"), Turn("assistant", "Hello"))
    made = pairs.create_many(
        store,
        [PairDraft("One?", "1"), PairDraft("Two?", "2", system="Brief."), PairDraft("Three?", "3", history=earlier)],
        dataset="d",
    )
    assert made
    uids = [pair.uid for pair, _ in datasets.members(store, "d", status=None)]
    pairs.set_status(store, uids, "ready")
    datasets.set_split(store, "d", uids, "test")
    assert dataset_questions(store, "d", "Be kind.") == (
        [PromptEntry("One?", "Be kind."), PromptEntry("Two?", "Brief.")], 1,
    )  # fmt: skip
