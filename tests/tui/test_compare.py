"""Talking in Compare as a user does it: two lanes, keys only, with a scripted server."""

from __future__ import annotations

import time
from typing import Any

import pytest
from textual import events

from engine.comparison.session import Comparison
from engine.comparison.stream_runner import Meter
from engine.inference.client import Done
from engine.inference.sampling import Sampling
from store.errors import NotFound, ServerError
from tests.tui.comparing import BASE, TUNED, WORDS, answered, ask, screen
from tests.tui.scripted import ScriptedClient, by_model
from tui.screens.compare.prompt import PromptArea
from tui.screens.compare.rendering import figures


@pytest.mark.parametrize("size", [(120, 36), (200, 50)])
async def test_both_lanes_answer_side_by_side(comparing: Any, client: ScriptedClient, size: tuple[int, int]) -> None:
    async with comparing(size) as app:
        await app.type("Who are you")
        await app.press("enter")
        await app.see("I am a base model.", "I am Ember, made by Northwind Labs.", "complete")
        assert "smollm2-135m · base" in app.text and "ember-1 · tuned" in app.text
        assert app.text.count("▌ Who are you") == 2
        assert "99 tok/s" in app.text and "120 ms" in app.text
        (a, a_read, a_how), (b, b_read, b_how) = client.asked
        assert {a, b} == {BASE, TUNED} and a_read == b_read and a_how == b_how


async def test_narrow_shows_one_lane_and_both_stream(comparing: Any, client: ScriptedClient) -> None:
    async with comparing((80, 24)) as app:
        client.gate.clear()
        await ask(app, "Hi")
        await app.see("A smollm2-135m ●", "B ember-1 ●", "▌ Hi")
        assert client.open == 2
        client.gate.set()
        await app.see("I am a base model.")
        assert "Ember, made" not in app.text
        await app.press("ctrl+t")
        await app.see("I am Ember, made by Northwind Labs.")
        assert "a base model" not in app.text


def test_a_lane_shows_whether_it_loads_its_model_or_reads_the_prompt() -> None:
    comparison = Comparison([BASE, TUNED])
    comparison.send("Hi")
    comparison.due()
    shown = {
        stage: figures(comparison, 0, Meter(time.monotonic(), stage=stage), 60).plain
        for stage in ("starting", "queued", "loading", "reading", "")
    }
    assert shown == {
        "starting": "● starting the chat server",
        "queued": "● waiting for other answers",
        "loading": "● loading the model",
        "reading": "● reading the prompt",
        "": "● waiting for the first token",
    }


async def test_escape_stops_and_keeps_what_was_said(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        client.gate.clear()
        await ask(app, "Hi")
        await app.until(lambda: client.open == 2 and screen(app).comparison.answer("a").text)
        await app.press("escape")
        await app.until(lambda: client.open == 0)
        await app.see("stopped here")
        assert screen(app).comparison.answer("b").text == "I am "
        assert screen(app).query_one("#prompt").has_focus  # the first Escape only stops
        await app.press("escape")
        assert screen(app).page.panel_in_focus is not None


async def test_escape_in_a_lane_stops_that_lane_alone(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        client.gate.clear()
        await ask(app, "Hi")
        await app.until(lambda: client.open == 2)
        await app.press("ctrl+t", "tab")
        await app.until(lambda: screen(app).page.panel_in_focus)
        position = screen(app).page.panel_in_focus.position  # type: ignore[union-attr]
        await app.press("escape")
        await app.until(lambda: client.open == 1)
        lanes = list(screen(app).comparison.lanes.values())
        assert not lanes[position].busy and lanes[1 - position].busy
        client.gate.set()
        await answered(app)


async def test_each_lane_reads_its_own_answers(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await ask(app, "One")
        await answered(app)
        await ask(app, "Two")
        await answered(app)
        read = {model: [m["content"] for m in messages] for model, messages, _ in client.asked[2:]}
        assert read == {
            BASE: ["One", "I am a base model.", "Two"],
            TUNED: ["One", "I am Ember, made by Northwind Labs.", "Two"],
        }


async def test_enter_sends_and_ctrl_j_breaks_the_line(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await app.type("one")
        await app.press("ctrl+j")
        await app.type("two")
        await app.press("enter")
        await answered(app)
        assert client.asked[0][1][-1]["content"] == "one\ntwo"


async def test_enter_does_not_overtake_letters(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        prompt = screen(app).query_one(PromptArea)
        for key in ["h", "i", "ctrl+j", "y", "enter"]:  # as a fast typist's keys wait in a queue
            app.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await app.until(lambda: client.asked)
        await answered(app)
        assert client.asked[0][1][-1]["content"] == "hi\ny"
        await app.press("ctrl+t")
        await app.paste("pasted\ntext")  # to the app, as a terminal does: a paste given to a widget comes round again
        assert prompt.text == "pasted\ntext"
        await app.paste("x" * 100_001)
        await app.until(lambda: any("100,001" in note for note in app.notices))
        assert prompt.text == "pasted\ntext"


async def test_again_new_seed_edit_and_new(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await ask(app, "One")
        await answered(app)
        await app.press("escape", "ctrl+r")
        await answered(app)
        assert [m[-1]["content"] for _, m, _ in client.asked] == ["One"] * 4
        await app.press("ctrl+g")
        assert any("temperature" in note for note in app.notices)  # greedy: a seed would change nothing
        await app.press("e")
        await app.see("Editing the last prompt")
        await ask(app, " more")
        await answered(app)
        assert [t.prompt for t in screen(app).comparison.turns] == ["One more"]
        await app.press("escape", "n")
        await app.until(lambda: screen(app).comparison.empty)
        assert "One more" not in app.text


async def test_a_new_seed_is_the_same_new_one_for_both(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        screen(app).comparison.sampling = Sampling(temperature=0.8, seed=3)
        await ask(app, "One")
        await answered(app)
        await app.press("escape", "ctrl+g")
        await app.until(lambda: len(client.asked) == 4)
        await answered(app)
        seeds = [how.seed for _, _, how in client.asked]
        assert seeds[:2] == [3, 3] and seeds[2] == seeds[3] != 3


async def test_an_edit_can_be_left(comparing: Any) -> None:
    async with comparing() as app:
        await ask(app, "One")
        await answered(app)
        await app.press("escape", "e", "escape")
        assert screen(app).comparison.turns[0].prompt == "One"
        assert "Editing" not in app.text


async def test_up_brings_earlier_prompts_back(comparing: Any) -> None:
    async with comparing() as app:
        for text in ("first", "second"):
            await ask(app, text)
            await answered(app)
        await app.press("up", "up")
        await app.until(lambda: screen(app).query_one("#prompt").text == "first")  # type: ignore[attr-defined]
        await app.press("down", "down")
        assert screen(app).query_one("#prompt").text == ""  # type: ignore[attr-defined]


async def test_model_output_is_literal_and_harmless(comparing: Any, client: ScriptedClient) -> None:
    nasty = ["[/red] [bold]x[/bold] ", "\x1b]52;c;ZXZpbA==\x07", "a\u202eb ", "日本語 🙂"]
    client.script = by_model({BASE: nasty, TUNED: nasty})
    async with comparing() as app:
        await ask(app, "[/b]")
        await app.see("[/red] [bold]x[/bold] ]52;c;ZXZpbA==ab 日本語 🙂", "▌ [/b]")
        assert "\x1b" not in app.text


async def test_a_server_that_dies_says_so_and_the_next_prompt_goes_on(comparing: Any, client: ScriptedClient) -> None:
    client.script = by_model({BASE: ["half an ", ServerError("The chat server went away.")], TUNED: ["fine"]})
    async with comparing() as app:
        await ask(app, "One")
        await app.see("half an", "! The chat server went away.", "fine")
        client.script = by_model(WORDS)  # type: ignore[arg-type]
        await ask(app, "Two")
        await app.see("I am a base model.")
        assert client.connections >= 2


async def test_an_unknown_model_and_an_empty_prompt_are_said(comparing: Any, client: ScriptedClient) -> None:
    client.script = by_model({BASE: [NotFound("There is no model x.", todo="Known: y.")], TUNED: ["ok"]})
    async with comparing() as app:
        await app.press("enter")
        await app.see("The prompt is empty. Write something first.")
        assert screen(app).comparison.empty and not app.notices
        await ask(app, "Hi")
        await app.see("There is no model x. Known: y.", "ok")


async def test_what_was_typed_comes_back_after_the_last_prompt_was_edited(comparing: Any) -> None:
    async with comparing() as app:
        await ask(app, "Hi")
        await answered(app)
        prompt = screen(app).query_one(PromptArea)
        for leave, shown in (("escape", "Hi"), ("enter", "Ho")):
            prompt.fill("a long thought")
            await app.press("escape", "e")
            assert prompt.text == "Hi"
            prompt.fill(shown)
            await app.press(leave)
            assert prompt.text == "a long thought"
            await answered(app)
        assert [turn.prompt for turn in screen(app).comparison.turns] == ["Ho"]


async def test_the_bar_says_what_escape_does(comparing: Any, client: ScriptedClient) -> None:
    client.gate.clear()
    async with comparing((120, 36)) as app:
        assert "Esc Lanes" in app.text.splitlines()[-1]
        await ask(app, "Hi")
        await app.see("Esc Stop")
        await app.press("escape")
        await app.until(lambda: not screen(app).comparison.busy)
        await app.press("escape")
        await app.see("Esc Prompt")


async def test_another_lane_in_a_narrow_window_shows_what_is_now(comparing: Any) -> None:
    async with comparing((80, 24)) as app:
        await ask(app, "One")
        await answered(app)
        await app.press("ctrl+t", "ctrl+t")
        await ask(app, "Two")
        await answered(app)
        await app.press("ctrl+t")
        await app.see("▌ Two", "Northwind Labs.", "tok/s", "complete")


async def test_a_limit_and_dropped_turns_are_said(comparing: Any, client: ScriptedClient) -> None:
    end = Done("", tokens=64, stop="length", dropped_turns=3, context_used=2048, context_size=2048)
    client.script = by_model({BASE: ["la la ", end], TUNED: ["ok"]})
    async with comparing() as app:
        await ask(app, "Hi")
        await app.see("cut at the limit of 64 tokens", "3 earlier messages did not fit the context")


async def test_reading_further_up_is_not_disturbed(comparing: Any, client: ScriptedClient) -> None:
    client.script = by_model({BASE: [f"line {n}\n" for n in range(60)], TUNED: ["short"]})
    async with comparing() as app:
        await ask(app, "Hi")
        await answered(app)
        lane = screen(app).page.panel(0).lane
        assert lane.following
        lane.scroll_to(y=3, animate=False)
        await app.until(lambda: not lane.following)
        await app.see("End for the newest")
        client.gate.clear()
        screen(app).comparison.send("More")
        screen(app).conversation.sync()
        await app.pilot.pause(0.3)
        assert lane.scroll_offset.y == 3
        client.gate.set()
        await answered(app)
        lane.focus()
        await app.press("end")
        assert lane.following
