"""The earlier turns of a pair in the app: written, added, removed, moved, only read; undone, kept in a draft, saved."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from store import pairs
from store.db import Store
from store.records import Pair, PairDraft, Turn
from tests.tui.conftest import Drive, Driver
from tui import drafts
from tui.screens.data import turns_editor

WILD = "It is\u202e here."
TURNS = (Turn("user", "Where is it?"), Turn("assistant", WILD, train=False))
SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])


@pytest.fixture
def pair(store: Store) -> Pair:
    return pairs.create(store, PairDraft("And the key?", "On the hook.", history=TURNS), dataset="d")


async def open_turns(app: Driver) -> None:
    await app.see("1 pair")
    await app.press("enter")
    await app.see("After 2 earlier turns", "assistant: It is here.")
    await app.press("f7")
    await app.see("Earlier turns  2, then the question", "1 user", "2 assistant, not trained")


@SIZES
async def test_adds_writes_and_saves_turns(drive: Drive, store: Store, pair: Pair, size: Any) -> None:
    async with drive(size=size) as app:
        await open_turns(app)
        await app.press("n")
        await app.type("And the lamp?")
        await app.see("3 user", "turn 3 and the question are both of the user")
        await app.press("escape", "n")
        await app.type("In the hall.")
        await app.see("4 assistant")
        assert "both of" not in app.text
        await app.press("escape", "escape")
        await app.see("After 4 earlier turns", "assistant: In the hall.")
        await app.press("ctrl+s")
        await app.see("1 pair")
    after = pairs.get(store, pair.uid)
    assert after.history == (*TURNS, Turn("user", "And the lamp?"), Turn("assistant", "In the hall."))
    assert (after.question, after.answer, after.revision) == ("And the key?", "On the hook.", 2)
    pairs.undo(store)
    assert pairs.get(store, pair.uid).history == TURNS


@SIZES
async def test_every_change_is_undone_one_after_the_other(drive: Drive, store: Store, pair: Pair, size: Any) -> None:
    async with drive(size=size) as app:
        await open_turns(app)
        await app.press("z")
        await app.until(lambda: "not trained" not in app.text.partition("Text")[0])
        await app.press("K")
        await app.see("1 assistant", "2 user", "turn 2 and the question are both of the user")
        await app.press("j", "delete")
        await app.see("Earlier turns  1,")
        await app.press("enter")
        await app.type("Look: ")
        await app.see("Look: It is here.")
        await app.press("tab", "right")
        await app.see("1 system")
        await app.press("escape")
        for seen in ("1 assistant", "It is here.", "2 user", "1 user", "2 assistant, not trained"):
            await app.press("u")
            await app.see(seen)
        await app.press("u")
        await app.until(lambda: "Nothing to undo here." in app.notices)
        await app.press("ctrl+s")
        await app.see("After 2 earlier turns")
        assert not app.app.screen.changed, "all is as it was, the characters that are not shown too"  # type: ignore[attr-defined]
        await app.press("ctrl+s")
        await app.see("1 pair")
    assert pairs.get(store, pair.uid).revision == 1


async def test_only_answers_can_be_left_untrained(drive: Drive, store: Store, pair: Pair) -> None:
    async with drive() as app:
        await open_turns(app)
        await app.press("k", "z")
        await app.until(lambda: "Only answers of the assistant are trained on." in app.notices)
        assert "only read" not in app.text.partition("Only read")[0]
        await app.press("j", "z", "ctrl+s", "ctrl+s")
        await app.until(lambda: pairs.get(store, pair.uid).history == (TURNS[0], Turn("assistant", WILD)))


async def test_a_turn_that_was_left_empty_is_left_out(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("enter", "f7")
        await app.see("Earlier turns  1,", "(empty)")
        await app.press("escape", "escape")
        await app.see_page("PairEditor")
        assert "Left out 1 turn without a text." in app.notices and "earlier turn" not in app.text
        assert not app.app.screen.changed  # type: ignore[attr-defined]


async def test_turns_are_kept_in_the_draft_while_they_are_written(drive: Drive, store: Store, pair: Pair) -> None:
    async with drive() as app:
        await open_turns(app)
        await app.press("n")
        await app.type("Half a que")
        app.app.save_drafts()  # what a hang-up does
    async with drive() as app:
        await app.see("1 unsaved draft")
        await app.press("enter")
        await app.see("Restored your unsaved text.", "After 3 earlier turns", "user: Half a que")
        await app.press("f7")
        await app.see("3 user")
        await app.press("ctrl+r")
        await app.see("Earlier turns  2,")
        await app.press("u")
        await app.see("Earlier turns  3,")
        await app.press("ctrl+r", "ctrl+s")
        await app.see("After 2 earlier turns")
        await app.press("escape")
        await app.until(lambda: "1 pair" in app.text and "unsaved" not in app.text)
    assert pairs.get(store, pair.uid).revision == 1 and not drafts.keys(store.home)


async def test_a_conflict_shows_the_turns_and_saves_all_texts(drive: Drive, store: Store, pair: Pair) -> None:
    async with drive(size=(120, 40)) as app:
        await open_turns(app)
        await app.press("home", "enter", "ctrl+end")
        await app.type(" Say!")
        pairs.edit(store, pair.uid, answer="Under the mat.", tags=("seen",), actor="import")
        await app.press("ctrl+s", "ctrl+s")
        await app.see("Stored now", "1 user: Where is it?", "→ Under the mat.", "1 user: Where is it? Say!")
        await app.pilot.pause()  # four buttons are put one above the other once they are measured
        await app.pilot.click("#mine")
        await app.see_page("DataScreen")
    after = pairs.get(store, pair.uid)
    assert after.history == (Turn("user", "Where is it? Say!"), TURNS[1])
    assert (after.answer, after.tags) == ("On the hook.", ("seen",)), "all texts as typed; their tag"


async def test_a_new_conversation(drive: Drive, store: Store) -> None:
    async with drive(size=(120, 40)) as app:
        await app.see("Write the first pair")
        await app.press("3")
        await app.see_page("PairEditor")
        await app.press("f7")
        await app.see("Earlier turns  1,")
        await app.type("Hi")
        await app.press("escape", "n")
        await app.type("Hello")
        await app.press("ctrl+s")
        await app.type("Who are you?")
        await app.press("tab")
        await app.type("Ember.")
        await app.press("ctrl+s")
        await app.see("Who are you?")
    made = pairs.page(store, pairs.search_ids(store))[0]
    assert made.history == (Turn("user", "Hi"), Turn("assistant", "Hello"))


def test_examples() -> None:
    assert doctest.testmod(turns_editor).failed == 0
