"""Voting through a set of prompts in Compare: the next comes after each vote, with undo, skipping and an end."""

from __future__ import annotations

from typing import Any

from engine.evaluation import prompt_sets
from engine.evaluation.prompt_sets import PromptEntry
from store import chats, datasets, pairs, votes
from store.db import Store
from store.records import PairDraft
from tests.tui.comparing import BASE, TUNED, answered, ask, screen

ASKED = ("One?", "Two?", "Three?")


def keep(store: Store, *prompts: str) -> None:
    prompt_sets.keep(store, "three", [PromptEntry(text) for text in prompts or ASKED])


async def begin(app: Any) -> None:
    screen(app).page.focus_front()
    await app.press("V")
    await app.see("Vote through which prompts")
    await app.type("three")
    await app.press("enter")


async def at(app: Any, prompt: str) -> None:
    """This prompt is shown, with both answers."""
    await app.until(lambda: [turn.prompt for turn in screen(app).comparison.turns] == [prompt])
    await answered(app)
    await app.until(lambda: not screen(app).comparison.busy)


def voted(store: Store) -> list[tuple[str, str]]:
    return [(votes.question(vote.prompt), vote.choice) for vote in reversed(votes.all_votes(store))]


async def test_the_next_prompt_comes_after_each_vote(comparing: Any, store: Store) -> None:
    keep(store)
    async with comparing() as app:
        await begin(app)
        await at(app, "One?")
        await app.see("1 of 3, 2 left", "Which is better?", "LANES · 1 of 3", "hidden until you vote")
        await app.press("1")
        await at(app, "Two?")
        await app.see("LANES · 2 of 3", "You voted: left. Left was")
        await app.press("3")
        await at(app, "Three?")
        await app.press("4")
        await app.see("That was the last prompt of the set.")
        await app.until(lambda: len(votes.all_votes(store)) == 3)
        assert [asked for asked, _ in voted(store)] == list(ASKED) and [c for _, c in voted(store)][1:] == [
            "tie",
            "both_bad",
        ]
        assert all(vote.blind and vote.turn == 0 for vote in votes.all_votes(store))
        assert len(chats.all_chats(store)) == 3, "each prompt is a conversation of its own"
        assert not screen(app).flow.on and not screen(app).comparison.blind
        await begin(app)
        await app.see("3 prompts, all voted on between these two")


async def test_undo_goes_back_and_the_vote_can_be_cast_again(comparing: Any, store: Store) -> None:
    keep(store)
    async with comparing() as app:
        await begin(app)
        await at(app, "One?")
        await app.press("1")
        await at(app, "Two?")
        await app.press("u")
        await at(app, "One?")
        await app.until(lambda: not votes.all_votes(store))
        await app.see("Undid the vote", "smollm2-135m · base", "ember-1 · tuned")
        await app.press("3")
        await at(app, "Two?")
        await app.until(lambda: voted(store) == [("One?", "tie")])
        assert not votes.all_votes(store)[0].blind, "its sides were shown before"
        await app.press("2")
        await at(app, "Three?")
        await app.until(lambda: len(voted(store)) == 2)
        assert votes.all_votes(store)[0].blind


async def test_skipping_ending_and_continuing(comparing: Any, store: Store) -> None:
    keep(store)
    async with comparing() as app:
        await begin(app)
        await at(app, "One?")
        await app.press("n")
        await at(app, "Two?")
        await app.press("3")
        await at(app, "Three?")
        await app.press("escape")
        await app.see("No further prompts of the set are sent")
        assert not screen(app).flow.on and "of 3" not in screen(app).badge()
        await app.press("3")  # a vote as ever: nothing follows it
        await app.until(lambda: len(votes.all_votes(store)) == 2)
        assert screen(app).comparison.turns[0].prompt == "Three?"
        await begin(app)
        await at(app, "One?")
        await app.see("3 of 3, 0 left")
        await app.press("escape")  # hidden still
        await app.until(lambda: not screen(app).flow.on)
        earlier = screen(app).comparison
        await begin(app)
        await app.until(lambda: screen(app).comparison is not earlier and screen(app).flow.on)
        await at(app, "One?")


async def test_a_prompt_of_your_own_ends_it(comparing: Any, store: Store) -> None:
    keep(store)
    async with comparing() as app:
        await begin(app)
        await at(app, "One?")
        await ask(app, "And you?")
        await answered(app)
        assert not screen(app).flow.on
        await app.press("3")
        await app.until(lambda: votes.all_votes(store))
        assert [turn.prompt for turn in screen(app).comparison.turns] == ["One?", "And you?"]


async def test_a_vote_that_cannot_be_cast_sends_nothing(comparing: Any, store: Store, client: Any) -> None:
    keep(store)
    client.script = lambda model, messages: ["Same."]
    async with comparing() as app:
        await begin(app)
        await at(app, "One?")
        await app.press("1")
        await app.until(lambda: any("same, word for word" in note for note in app.notices))
        assert screen(app).comparison.turns[0].prompt == "One?" and not votes.all_votes(store)


async def test_prompts_with_a_vote_between_other_models_are_asked(comparing: Any, store: Store) -> None:
    keep(store, "One?", "One?", "Two?")
    for other, asked in (("run:other", "One?"), (TUNED, "Two?")):
        prompt = PromptEntry(asked).messages()
        votes.add(store, prompt=prompt, a_model=other, b_model=BASE, a_text="x", b_text="y", choice="a")
    async with comparing() as app:
        await begin(app)
        await at(app, "One?")
        await app.see("2 of 2, 0 left")


async def test_the_prompts_with_the_most_different_answers_first(comparing: Any, store: Store, client: Any) -> None:
    keep(store)
    said = {"One?": "same", "Two?": "a b", "Three?": "other"}
    client.script = lambda model, messages: [
        said[messages[-1]["content"]] if model == BASE else {"One?": "same", "Two?": "a c", "Three?": "no"}[
            messages[-1]["content"]
        ]
    ]  # fmt: skip
    async with comparing() as app:
        for prompt in ASKED:
            await screen(app).action_new()
            await ask(app, prompt)
            await answered(app)
        await app.until(lambda: len(chats.all_chats(store)) == 3)
        await begin(app)
        await app.see("In which order?", "known of 3 of 3 prompts")
        await app.press("enter")
        for prompt in ("Three?", "Two?", "One?"):
            await at(app, prompt)
            await app.press("3")
        await app.see("That was the last prompt of the set.")


async def test_the_test_questions_of_the_dataset_are_offered(comparing: Any, store: Store) -> None:
    pairs.create_many(store, [PairDraft("Who?", "Ember.", status="ready")], dataset="mine")
    datasets.set_split(store, "mine", [pair.uid for pair, _ in datasets.members(store, "mine")], "test")
    async with comparing() as app:
        app.app.remember(dataset="mine")
        screen(app).page.focus_front()
        await app.press("V")
        await app.see("Test questions of mine", "1 prompt")
        await app.type("Test questions")
        await app.press("enter")
        await at(app, "Who?")
        await app.see("1 of 1, 0 left")
