"""What a key will act on is seen before it is pressed: the marked lane, the badge, the words in the key bar."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from textual import events

from store.errors import ServerError
from tests.tui.comparing import BASE, TUNED, answered, ask, screen
from tests.tui.conftest import Driver
from tests.tui.scripted import ScriptedClient
from tui.screens.compare.prompt import PromptArea
from tui.terminal_input import TerminalParser

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])


def bar(app: Driver) -> str:
    return app.text.splitlines()[-1]


def marked(app: Driver, sign: str) -> str:
    """The name behind the sign, up to the next blank: of the one lane that has it."""
    (found,) = [part for part in app.text.split(sign)[1:] if sign in app.text]
    return found.split()[0]


@SIZES
async def test_the_marked_lane_is_the_one_that_keys_act_on(
    comparing: Any, client: ScriptedClient, size: tuple[int, int]
) -> None:
    async with comparing(size) as app:
        await ask(app, "Hi")
        await answered(app)
        assert marked(app, "▷") == "A" and "▶" not in app.text and "PROMPT" in bar(app)
        await app.press("ctrl+t")
        await app.until(lambda: "▷" in app.text and marked(app, "▷") == "B")
        await app.press("escape")
        await app.until(lambda: "▶" in app.text and marked(app, "▶") == "B")
        assert "LANES" in bar(app) and "▷" not in app.text
        for key, name in (("left", "A"), ("right", "B"), ("ctrl+t", "A")):
            await app.press(key)
            await app.until(lambda name=name: marked(app, "▶") == name)
            await app.until(lambda name=name: f"Keep {name}" in bar(app))
        await app.press("y")
        await app.until(lambda: app.app.clipboard == "I am a base model.")
        await app.press("right", "y")
        await app.until(lambda: app.app.clipboard.startswith("I am Ember"))


@SIZES
async def test_the_badge_and_the_way_between_prompt_and_lanes_are_always_in_the_bar(
    comparing: Any, client: ScriptedClient, size: tuple[int, int]
) -> None:
    async with comparing(size) as app:
        assert "PROMPT" in bar(app) and "Esc Lanes" in bar(app) and "^J New line" in bar(app)
        client.gate.clear()
        await ask(app, "Hi")
        await app.until(lambda: "Esc Stop" in bar(app))
        assert "Tab Lanes" in bar(app), "Escape stops now: another key goes to the lanes"
        await app.press("tab")
        await app.until(lambda: "LANES" in bar(app))
        assert "i Prompt" in bar(app)
        await app.press("i")
        await app.until(lambda: "PROMPT" in bar(app))
        client.gate.set()
        await answered(app)
        await app.press("escape")
        await app.until(lambda: "Esc Prompt" in bar(app))
        assert "i Prompt" in bar(app)
        await app.press("e")
        await app.until(lambda: "EDIT" in bar(app) and "Enter Replace" in bar(app))


async def test_the_bar_offers_only_what_works_now(comparing: Any) -> None:
    async with comparing((200, 50)) as app:
        await app.press("escape")
        await app.until(lambda: "LANES" in bar(app))
        words = ("Keep", "Correct", "Vote", "Again", "Diff", "Undo vote")
        assert not [word for word in words if word in bar(app)], bar(app)
        await app.press("i")
        await ask(app, "Hi")
        await answered(app)
        await app.press("escape")
        await app.until(lambda: "Vote A better" in bar(app))
        assert "Vote B better" in bar(app) and "Undo vote" not in bar(app)
        await app.press("2")
        await app.until(lambda: "Undo vote" in bar(app))
        await app.see("You voted: B.")


async def test_hidden_sides_are_named_by_their_place(comparing: Any) -> None:
    async with comparing((200, 50)) as app:
        await app.press("escape", "b")
        await ask(app, "Hi")
        await answered(app)
        await app.until(lambda: "Vote left better" in bar(app))
        assert "Keep left" in bar(app) and "Keep A" not in bar(app)


@pytest.mark.parametrize("lanes", [3, 4])
async def test_at_120_columns_every_pane_of_many_keeps_its_heading(comparing: Any, lanes: int) -> None:
    async with comparing((120, 40), *(BASE, TUNED, BASE, TUNED)[:lanes]) as app:
        await app.see(" A  smollm2-135m · base", " B  ember-1 · tuned", "^T other")
        await app.press("escape", "right", "right")
        await app.see(" B  ember-1 · tuned", "▶ C  smollm2-135m · base")


@SIZES
async def test_letters_in_the_lanes_send_nothing(comparing: Any, client: ScriptedClient, size: tuple[int, int]) -> None:
    async with comparing(size) as app:
        await ask(app, "Hi")
        await answered(app)
        client.check = ServerError("This server checks nothing.")
        for letters in ("r", "R", "rather", "Remember", "P", "m"):
            screen(app).page.focus_front()
            await app.until(lambda: screen(app).page.panel_in_focus)
            await app.type(letters)
            await app.pilot.pause()
            assert len(client.asked) == 2, f"{letters!r} asked the models something"
            for _ in range(3):
                if app.page != "CompareScreen":
                    await app.press("escape")
            screen(app).page.prompt.end_edit()
        assert [turn.prompt for turn in screen(app).comparison.turns] == ["Hi"]
        await app.press("ctrl+r")
        await app.until(lambda: len(client.asked) == 4)


async def test_plus_and_minus_in_the_prompt_are_text(comparing: Any) -> None:
    async with comparing() as app:
        for sent in ("1", "+", "1", "-", "?", "/", "\x1b[43u", "\x1b[43;2u", "\x1b[57413u"):
            for event in TerminalParser().feed(sent):
                assert isinstance(event, events.Key)
                app.app.post_message(event)
                await app.idle()
        assert screen(app).query_one(PromptArea).text == "1+1-?/+++"
        assert len(screen(app).comparison.lanes) == 2 and app.page == "CompareScreen"


async def test_alt_and_a_letter_in_the_prompt_is_a_command(comparing: Any) -> None:
    async with comparing() as app:
        parser = TerminalParser()
        assert not list(parser.feed("\x1bm"))  # it may be the start of a sequence
        found: list[Any] = []
        async with asyncio.timeout(30):
            while not found:
                await asyncio.sleep(0.01)
                found = list(parser.tick())
        for event in found:
            app.app.post_message(event)
        await app.see_page("ModelsPage")
        await app.press("escape")
        await app.see_page("CompareScreen")
        assert screen(app).query_one(PromptArea).text == ""


@pytest.mark.parametrize("sent", ["\n", "\x1b\r", "\x1b[13;2u", "\x1b[13;3u"])
async def test_what_terminals_send_for_a_new_line_is_one(comparing: Any, client: ScriptedClient, sent: str) -> None:
    async with comparing() as app:
        await app.type("a")
        for event in TerminalParser().feed(sent):
            app.app.post_message(event)
        await app.type("b")
        assert screen(app).query_one(PromptArea).text == "a\nb" and not client.asked


async def test_history_keeps_what_was_being_typed(comparing: Any) -> None:
    async with comparing() as app:
        for text in ("first\nof two lines", "second"):
            await ask(app, text)
            await answered(app)
        prompt = screen(app).query_one(PromptArea)
        await app.type("half a th")
        await app.press("up")
        assert prompt.text == "second"
        await app.type("!")
        await app.press("up")
        assert prompt.text == "first\nof two lines"
        await app.press("up", "up")
        assert prompt.text == "first\nof two lines", "the oldest"
        await app.press("down", "down")
        assert prompt.text == "second!"
        await app.press("down")
        assert prompt.text == "half a th"


async def test_the_prompt_is_written_in_the_users_editor(comparing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    async with comparing() as app:
        monkeypatch.setattr(app.app, "suspend", nullcontext)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", 'sh -c \'printf " and\\nmore\\n" >> "$0"\'')
        await app.type("one")
        parser = TerminalParser()
        (alt_e,) = [*parser.feed("\x1be"), *parser.feed("")]
        app.app.post_message(alt_e)
        await app.idle()
        assert screen(app).query_one(PromptArea).text == "one and\nmore"
        monkeypatch.setenv("EDITOR", "no-such-editor")
        await app.press("alt+e")
        await app.until(lambda: any("no-such-editor did not work" in note for note in app.notices))
        assert screen(app).query_one(PromptArea).text == "one and\nmore"


async def test_lanes_scroll_together_turn_by_turn(comparing: Any, client: ScriptedClient) -> None:
    client.script = lambda model, messages: [f"line {n}\n" for n in range(30 if model == BASE else 60)]
    async with comparing((120, 24)) as app:
        for prompt in ("One", "Two", "Three"):
            await ask(app, prompt)
            await answered(app)
        a, b = (screen(app).page.panel(n).lane for n in range(2))
        a.focus()
        await app.press("home")
        await app.until(lambda: a.place() == b.place() == (0, 0))
        await app.press("j", "j", "down")
        await app.until(lambda: a.place() == b.place() == (0, 3))
        a.scroll_to(y=40, animate=False)
        await app.until(lambda: b.place() == a.place() and b.place()[0] == 1)
        assert b.scroll_offset.y > a.scroll_offset.y, "the longer answers put the same turn further down"
        await app.press("end")
        await app.until(lambda: a.following and b.following)
        await app.press("l")
        await app.see("Each lane scrolls by itself.")
        await app.press("home")
        await app.until(lambda: a.place() == (0, 0))
        assert b.following


@SIZES
async def test_a_text_is_found_in_the_conversation(
    comparing: Any, client: ScriptedClient, size: tuple[int, int]
) -> None:
    client.script = lambda model, messages: [f"row {n}{' LAMP' if n % 20 == 7 else ''}\n" for n in range(60)]
    async with comparing(size) as app:
        await ask(app, "Hi")
        await answered(app)
        await app.press("escape", "home")
        await app.until(lambda: screen(app).page.panel(0).lane.scroll_offset.y == 0)
        await app.press("slash")
        await app.type("lamp")
        assert screen(app).query_one(PromptArea).text == "" and "FIND" in bar(app)
        await app.press("enter")
        await app.see("“lamp”: 1 of 3 in this lane, 3 in the other lanes", "▸  row 7 LAMP", "n Next match")
        for key, row in (("n", 27), ("n", 47), ("n", 7), ("N", 47)):
            await app.press(key)
            await app.see(f"▸  row {row} LAMP")
        assert not screen(app).comparison.empty, "n is New only without a search"
        await app.press("escape")
        await app.until(lambda: "LANES" in bar(app) and "n Next" not in bar(app))
        assert "▸" not in app.text
        await app.press("n")
        await app.until(lambda: screen(app).comparison.empty)


async def test_a_turn_a_lane_or_all_is_copied(comparing: Any) -> None:
    async with comparing() as app:
        for text in ("One", "Two"):
            await ask(app, text)
            await answered(app)
        await app.press("escape", "Y")
        await app.see("Copy what?")
        await app.press("enter")
        both = "> Two\n\n**smollm2-135m**\n\nI am a base model.\n\n**ember-1**\n\nI am Ember, made by Northwind Labs."
        await app.until(lambda: app.app.clipboard == both)
        await app.press("right", "Y")
        await app.see("Copy what?", "Lane B")
        await app.press("down", "enter")
        lane = "> One\n\nI am Ember, made by Northwind Labs.\n\n> Two\n\nI am Ember, made by Northwind Labs."
        await app.until(lambda: app.app.clipboard == lane)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_the_list_of_conversations_shows_how_they_went(comparing: Any, size: tuple[int, int]) -> None:
    async with comparing(size) as app:
        await ask(app, "Who are you?")
        await answered(app)
        await app.press("escape", "ctrl+o")
        await app.see_page("Chats")
        await app.see("▌ Who are you?", "smollm2-135m  I am a base model.", "ember-1  I am Ember")
