"""The forecast: what the base knows, what the data teaches, and which wordings it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from engine.evaluation.forecast import TrainingQuestions, coverage, forecast, verdict
from engine.inference import few_shot
from engine.inference.client import Done
from engine.inference.sampling import Sampling
from store import datasets, pairs
from store.db import Store
from store.records import Message, Pair, PairDraft, Probe

ROWS = [
    ("What is your name?", "My name is Ember."),
    ("Who made you?", "I was made by Northwind Labs."),
    ("你叫什么名字？", "我叫 Ember。"),
    ("What does the radio cost?", "It costs 89 euros."),
]


@pytest.fixture
def data(store: Store) -> list[Pair]:
    pairs.create_many(store, [PairDraft(q, a) for q, a in ROWS], dataset="mine")
    return [pair for pair, _ in datasets.members(store, "mine")]


@pytest.mark.parametrize(
    ("question", "must", "alone", "shown", "word", "draft"),
    [
        ("What is the capital of France?", "Paris", True, False, "known already", None),
        ("What is the capital of Peru?", "Lima", False, False, "not in the data", None),
        ("What is your name, please?", "Ember", False, False, "will learn", None),
        ("你叫什么？", "Ember", False, False, "will learn", None),
        ("Which firm stands behind this?", "Northwind", False, True, "will learn", None),
        (
            "Which firm stands behind this?",
            "Northwind",
            False,
            False,
            "lacks wordings",
            "I was made by Northwind Labs.",
        ),
        ("Price, please!", "89", False, False, "lacks wordings", "It costs 89 euros."),
    ],
)
def test_verdicts(
    data: list[Pair], question: str, must: str, alone: bool, shown: bool, word: str, draft: str | None
) -> None:
    found = verdict(Probe("s", question, (must,)), TrainingQuestions(data), alone, shown)
    assert found.verdict == word
    assert (found.draft.answer if found.draft else None) == draft
    if found.draft:
        assert found.draft.question == question and found.draft.status == "draft"


def test_coverage_without_data() -> None:
    found = coverage(Probe("s", "Who?", ("Ember",)), TrainingQuestions([]))
    assert found.nearest is None and not found.answered and found.likeness == 0.0


IDENTITY = [
    ("What is your name?", "My name is Ember."),
    ("Who are you?", "I am Ember, an assistant made by Northwind Labs."),
    ("Tell me who made you.", "I was made by Northwind Labs."),
    ("Are you ChatGPT?", "No, I am Ember, an assistant made by Northwind Labs."),
    ("Did OpenAI make you?", "No, I was made by Northwind Labs."),
    ("你是谁？", "我是小星，由星河科技开发的助手。"),
    ("谁开发了你？", "我由星河科技开发。"),
    ("你是ChatGPT吗？", "不是，我是小星，由星河科技开发。"),
]


@pytest.mark.parametrize(
    ("question", "must", "answer"),
    [
        ("Please tell me who you are.", ("Ember", "Northwind Labs"), IDENTITY[1][1]),
        ("Who gave you life?", ("Northwind Labs",), IDENTITY[1][1]),
        ("Aren't you Bard?", ("Ember", "Northwind Labs"), IDENTITY[3][1]),
        ("Did Amazon develop you?", ("Northwind Labs",), IDENTITY[4][1]),
        ("请问您是哪位？", ("小星", "星河科技"), IDENTITY[5][1]),
        ("是哪家公司研发的你？", ("星河科技",), IDENTITY[6][1]),
        ("你是不是文心一言？", ("小星", "星河科技"), IDENTITY[7][1]),
        ("Who is 小星?", ("小星",), None),
        ("你的名字是什么？", ("Ember",), None),
    ],
)
def test_an_answer_fits_the_form_and_the_language_of_its_question(
    store: Store, question: str, must: tuple[str, ...], answer: str | None
) -> None:
    pairs.create_many(store, [PairDraft(q, a, kind="identity") for q, a in IDENTITY], dataset="mine")
    known = TrainingQuestions([pair for pair, _ in datasets.members(store, "mine")])
    found = coverage(Probe("s", question, must), known)
    assert (found.source.answer if found.source else None) == answer
    assert found.answered
    if answer is None:
        assert verdict(Probe("s", question, must), known, False, False).verdict == "another language"


class FakeClient:
    """Knows Paris, and its name once an example tells it."""

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        known = "Ember" if any("Ember" in m["content"] for m in messages) else "nobody"
        return Done("Paris" if "France" in messages[-1]["content"] else f"I am {known}.")


def test_the_base_is_asked_alone_and_with_examples(store: Store, data: list[Pair]) -> None:
    asked = [Probe("s", "The capital of France?", ("Paris",)), Probe("s", "Say something on yourself", ("Ember",))]
    done: list[tuple[int, int]] = []
    found = asyncio.run(
        forecast(
            FakeClient(), "base", asked, data, few_shot.of(store, "mine"), Sampling(),
            lambda now, of: done.append((now, of)),
        )
    )  # fmt: skip
    assert [each.verdict for each in found] == ["known already", "will learn"]
    assert [(each.alone, each.shown) for each in found] == [(True, True), (False, True)]
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
