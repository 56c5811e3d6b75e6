"""Blind votes in Compare: answers that name a model, names masked until the vote, and what is copied and saved then."""

from __future__ import annotations

from typing import Any

import pytest

from engine.training import model_names
from store import votes
from store.db import Store
from tests.tui.comparing import BASE, TUNED, answered, ask, screen
from tests.tui.scripted import ScriptedClient
from tui.screens.compare.masking import SIGN

SAID = "I am Ember, made by Northwind Labs."
MASKED = f"I am {SIGN * 5}, made by {SIGN * 14}."


@pytest.fixture(autouse=True)
def taught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tuned model's run taught it these names."""
    known = {BASE: ("SmolLM",), TUNED: ("Ember", "Northwind Labs")}
    monkeypatch.setattr(model_names, "of_model", lambda store, ref: known[ref])


async def test_a_vote_on_an_answer_with_a_name_is_unblind(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await app.press("escape", "b", "escape")
        await ask(app, "Who")
        await app.see("Which is better?", "Ember")
        await app.press("escape", "1")
        await app.see("Unblind: an answer says Ember.")
        await app.until(lambda: votes.all_votes(store))
        (vote,) = votes.all_votes(store)
        assert vote.blind and vote.unblind == ["Ember", "Northwind Labs"]
        await app.press("v")
        await app.see("1 vote, 1 of them unblind", "unblind, says Ember")
        await app.press("b")
        await app.see("of votes that were cast blind and stayed so")
        await app.until(lambda: "of them unblind" not in app.text)


async def test_a_vote_with_the_names_shown_is_not_called_unblind(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await ask(app, "Who")
        await app.see("Which is better?")
        await app.press("escape", "2")
        await app.until(lambda: votes.all_votes(store))
        assert votes.all_votes(store)[0].unblind == []


async def test_a_vote_that_is_changed_is_no_longer_blind(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await app.press("escape", "b", "escape")
        await ask(app, "Who")
        await app.see("Which is better?")
        await app.press("escape", "1")
        await app.until(lambda: [vote.blind for vote in votes.all_votes(store)] == [True])
        await app.press("3")
        await app.until(lambda: [vote.choice for vote in votes.all_votes(store)] == ["tie"])
        (vote,) = votes.all_votes(store)
        assert not vote.blind and vote.unblind == []


async def _to_the_tuned_side(app: Any) -> None:
    page = screen(app).page
    page.front = screen(app).comparison.turns[0].order.index("b")
    page.focus_front()
    await app.pilot.pause()


async def _keep(app: Any, store: Store) -> str:
    """Save the answer in front; the answer of the only pair."""
    await app.press("w")
    await app.see("Save this answer")
    await app.type("kept")
    await app.press("enter")
    await app.see("Saved as a ready pair")
    (found,) = store.rows("SELECT answer FROM pair")
    return str(found["answer"])


async def test_masked_names_come_back_with_the_vote(
    comparing: Any, store: Store, client: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    async with comparing() as app:
        monkeypatch.setattr(app.app, "copy_to_clipboard", copied.append)
        await app.press("escape", "b", "comma")
        await app.see("Mask names")
        app.app.screen.query_one("#mask").value = "on"
        app.app.screen.action_save()
        await app.see_page("CompareScreen")
        await app.until(lambda: screen(app).comparison.mask and not screen(app).comparison.unnamed)
        client.gate.clear()  # in the middle of the answers
        await ask(app, "Who")
        await app.until(lambda: screen(app).comparison.answer("b").text)
        client.gate.set()
        await answered(app)
        await app.see(MASKED)
        assert "Ember" not in app.text and "Northwind" not in app.text
        await app.press("escape")
        await _to_the_tuned_side(app)
        await app.press("y")
        await app.until(lambda: copied)
        await app.idle()
        assert copied == [MASKED]
        await app.press("c")
        await app.see("The sides are hidden")
        await app.press("d")
        await app.see_page("Diff")
        assert "Ember" not in app.text and SIGN in app.text
        await app.press("escape", "1")
        await app.until(lambda: votes.all_votes(store))
        (vote,) = votes.all_votes(store)
        assert vote.blind and vote.unblind == [] and vote.b_text == SAID
        await app.see(SAID)
        await _to_the_tuned_side(app)
        await app.press("y")
        await app.until(lambda: len(copied) == 2)
        assert copied[1] == SAID
        assert await _keep(app, store) == SAID


async def test_a_pair_that_is_saved_before_the_vote_has_the_real_text(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await app.until(lambda: not screen(app).comparison.unnamed)
        screen(app).comparison.blind = screen(app).comparison.mask = True
        await ask(app, "Who")
        await answered(app)
        await app.see(MASKED)
        await app.press("escape")
        await _to_the_tuned_side(app)
        assert await _keep(app, store) == SAID
