"""Lanes, their models, settings and checks, and whole sets of prompts, with keys only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.keys import _character_to_key

from engine.comparison.answer import Stats
from engine.comparison.session import Comparison
from engine.inference import few_shot
from engine.inference.client import Done
from store import pairs
from store.db import Store
from store.records import PairDraft
from tests.tui.comparing import BASE, TUNED, answered, ask, screen
from tests.tui.conftest import Drive
from tests.tui.scripted import ScriptedClient
from tui.screens.compare import rendering
from tui.screens.compare.lane_panel import LanePanel
from tui.screens.compare.rendering import tabs

# -- sets of prompts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_file_of_prompts_fills_a_table(
    comparing: Any, client: ScriptedClient, store: Store, tmp_path: Path, size: tuple[int, int]
) -> None:
    file = tmp_path / "ask.txt"
    file.write_text("\n".join(f"Question {n}?" for n in range(40)))
    client.script = lambda model, messages: [f"{messages[-1]['content']} {model[:5]} [/b]\x1b[31m"]
    async with comparing(size) as app:
        await app.press("escape", "P")
        await app.see("Which prompts to send to every lane?")
        await app.type(str(file))
        client.gate.clear()
        await app.press("enter")
        await app.see_page("Answers")
        await app.see("ask.txt: 0 of 40 prompts answered, 1 s", "Esc Stop")
        client.gate.set()
        await app.see("Esc Back")
        await app.see("ask.txt: 40 of 40 prompts answered", "A smollm2-135m", "B ember-1")
        await app.see("Question 0? smoll [/b][31m", "A · smollm2-135m", "B · ember-1")
        await app.press("end")
        await app.see("Question 39? smoll", "Question 39? run:e")
        assert all(len(messages) == 1 for _, messages, _ in client.asked)
        await app.press("x")
        folder = store.home.exports / "answers"
        await app.until(lambda: (folder / "ask.txt.jsonl").is_file())
        rows = [json.loads(line) for line in (folder / "ask.txt.jsonl").read_text("utf-8").splitlines()]
        assert len(rows) == 40 and list(rows[0]) == ["prompt", "seed", "a", "b"]
        await app.press("escape", "P")
        await app.see("ask.txt", "40 prompts")


async def test_leaving_the_table_ends_its_answers(comparing: Any, client: ScriptedClient, store: Store) -> None:
    async with comparing() as app:
        await ask(app, "One")
        await answered(app)
        client.gate.clear()
        await app.press("escape", "P")
        await app.see("The prompts of this conversation")
        await app.press("enter")
        await app.see("One: 0 of 1 prompt answered", "…")
        await app.until(lambda: client.open == 2)
        await app.press("escape")
        await app.see_page("CompareScreen")
        await app.until(lambda: client.open == 0)


# -- lanes ------------------------------------------------------------------------------------------------------------


async def test_settings_change_both_lanes(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await app.press("f7")
        await app.see("Generation settings")
        await app.press("backspace", *"0.7")
        await app.press("ctrl+s")
        await app.see_page("CompareScreen")
        await app.see("temperature 0.7")
        await ask(app, "Hi")
        await answered(app)
        assert {how.temperature for _, _, how in client.asked} == {0.7}


async def test_thinking_is_set_for_both_lanes(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await app.press("f7")
        await app.see("Generation settings", "‹ auto ›", "of models like Qwen3")
        app.app.screen.query_one("#thinking").focus()
        await app.press("right", "right", "ctrl+s")
        await app.see_page("CompareScreen")
        await ask(app, "Hi")
        await answered(app)
        assert {how.thinking for _, _, how in client.asked} == {False}


async def test_a_wrong_setting_is_named(comparing: Any) -> None:
    async with comparing() as app:
        await app.press("f7")
        await app.see("Generation settings")
        await app.press(*"hot", "ctrl+s")
        await app.see("Temperature must be a number from 0 to 5, not 'hot'.")
        await app.press("backspace", "backspace", "backspace", *"0.5", "tab", *"1.5", "ctrl+s")
        await app.see("Top p must be a number from 0 to 1, not 1.5.")
        assert "top_p" not in app.text
        await app.press("backspace", "backspace", "backspace", *"1", *["tab"] * 5, *"0", "ctrl+s")
        await app.see("Max tokens must be a whole number from 1")
        await app.press("escape")
        assert screen(app).comparison.sampling.temperature == 0


async def test_another_model_answers_again_by_itself(comparing: Any, client: ScriptedClient, store: Store) -> None:
    async with comparing() as app:
        await ask(app, "Hi")
        await answered(app)
        await app.press("escape", "m")
        await app.see("Model of lane A", "smollm2-135m")
        await app.type("http://h/v1#m")
        await app.press("enter")
        await app.until(lambda: client.asked[-1][0] == "http://h/v1#m")
        await answered(app)
        assert [m["content"] for m in client.asked[-1][1]] == ["Hi"]


async def test_enter_in_a_picker_does_not_overtake_letters(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await app.press("escape", "m")
        await app.see("Model of lane A")
        for char in "http://h/v1#m":  # as a fast typist's keys wait in a queue
            app.app.post_message(events.Key(_character_to_key(char), char))
        app.app.post_message(events.Key("enter", "\r"))
        await app.see_page("CompareScreen")
        await app.until(lambda: screen(app).conversation.models == ("http://h/v1#m", TUNED))


async def test_a_model_that_is_not_there_changes_nothing(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await app.press("escape", "m")
        await app.see("Model of lane A")
        await app.type("http:nonsense")
        await app.press("enter")
        await app.until(lambda: any("There is no model" in note for note in app.notices))
        assert screen(app).conversation.models == (BASE, TUNED)


async def test_lanes_come_and_go(comparing: Any, client: ScriptedClient) -> None:
    async with comparing((200, 50)) as app:
        await ask(app, "Hi")
        await answered(app)
        await app.press("escape", "plus")
        await app.see("Model of the new lane")
        await app.press(*"smol", "enter")
        await app.until(lambda: len(screen(app).comparison.lanes) == 3)
        await answered(app)
        await app.see(" C ")
        assert screen(app).comparison.answer("c").text == "I am a base model."
        await app.press("minus")
        await app.until(lambda: len(screen(app).comparison.lanes) == 2)


async def test_four_lanes_stand_side_by_side_and_no_more(comparing: Any, client: ScriptedClient) -> None:
    async with comparing((220, 50), BASE, TUNED, BASE, TUNED) as app:
        await ask(app, "Hi")
        await answered(app)
        assert app.text.count("▌ Hi") == 4 and client.asked[0][1] == client.asked[3][1]
        await app.press("escape", "plus")
        await app.see("There are 4 lanes already; - closes one.")
        await app.press("1")
        await app.see("A vote is between two lanes; - closes one.")
        assert len(screen(app).comparison.lanes) == 4


async def test_lanes_can_be_closed_while_the_page_is_drawn(comparing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with comparing((80, 24), BASE, TUNED, BASE, TUNED) as app:
        take_away = LanePanel.remove

        def drawn(panel: LanePanel) -> Any:
            screen(app).page.draw()  # a beat of the pump may come at any moment
            return take_away(panel)

        monkeypatch.setattr(LanePanel, "remove", drawn)
        await app.press("ctrl+t", "ctrl+t", "ctrl+t", "escape")
        for lanes in (3, 2, 1):
            await app.press("minus")
            await app.until(lambda lanes=lanes: len(screen(app).query(LanePanel)) == lanes)
        await app.see("smollm2-135m")


async def test_the_tabs_of_four_lanes_are_told_apart(comparing: Any, store: Store) -> None:
    pairs.create_many(store, [PairDraft(f"q{n}", f"a{n}") for n in range(6)], dataset="shop")
    async with comparing((80, 24)) as app:
        screen(app).comparison.add_lane(BASE, few_shot.of(store, "shop", 2))
        await screen(app).page.match_panels()
        await app.see("A smollm2-135m", "B ember-1", "C smollm2-135m with 2")


async def test_a_lane_with_examples(comparing: Any, client: ScriptedClient, store: Store) -> None:
    pairs.create_many(store, [PairDraft(f"q{n}", f"a{n}") for n in range(6)], dataset="shop")
    async with comparing((200, 50)) as app:
        await ask(app, "Hi")
        await answered(app)
        await app.press("escape", "E")
        await app.see("Examples from which dataset?", "shop")
        await app.press("enter")
        await app.see("How many, before each prompt?", "4 examples")
        await app.press("enter")
        await app.until(lambda: len(screen(app).comparison.lanes) == 3)
        await answered(app)
        await app.see("C  smollm2-135m · with 4 examples of shop")
        assert [len(messages) for _, messages, _ in client.asked] == [1, 1, 9]
        assert client.asked[-1][0] == BASE
        await app.press("w")
        await app.see("Save this answer to a dataset")
        await app.press("enter")
        await app.until(lambda: pairs.count(store) == 7)
        saved = pairs.page(store, pairs.search_ids(store, "Hi"))[0]
        assert saved.history == () and saved.source["model"] == "smollm2-135m with 4 examples of shop"
        await app.press("n")
        await app.see("Is prompting enough, without tuning?")


async def test_a_blind_lane_with_examples_is_not_given_away(
    comparing: Any, client: ScriptedClient, store: Store
) -> None:
    pairs.create_many(store, [PairDraft("q", "a")], dataset="shop")
    end = Done("", tokens=4, dropped_turns=2)
    client.script = lambda model, messages: ["I am it." if len(messages) > 1 else "I am Ember.", end]
    async with comparing() as app:
        await app.press("escape", "ctrl+t", "minus")
        await app.until(lambda: len(screen(app).comparison.lanes) == 1 and screen(app).page.panel_in_focus)
        await app.press("E", "enter")
        await app.see("How many, before each prompt?")
        await app.press("enter")
        await app.until(lambda: len(screen(app).comparison.lanes) == 2)
        await app.press("b")
        await ask(app, "Who")
        await app.see("2 earlier messages did not fit", "Which is better?")
        assert not any(word in app.text for word in ("example", "shop", "smollm2"))
        await app.press("1")
        await app.see("with 1 example of shop", "its examples first")


def _side(lane: str, model: str, diff: float) -> dict[str, Any]:
    return {
        "lane": lane, "model": model, "tuned": diff > 0, "plain_max_diff": diff, "tokens": 38, "honest": True,
    }  # fmt: skip


async def test_the_lane_check_shows_and_marks(comparing: Any, client: ScriptedClient) -> None:
    client.check = {
        "honest": True, "same_base": True, "same_tokens": True, "same_template": True, "lanes_max_diff": 9.5,
        "lanes": [_side("a", BASE, 0.0), _side("b", TUNED, 9.5)],
    }  # fmt: skip
    async with comparing() as app:
        await ask(app, "Hi")
        await app.see("✓ checked: plain", "✓ checked: tuned")
        await app.press("f9")
        await app.see("Every lane passed the check", "is the plain model", "by up to 9.5", "same 38 tokens")
        client.check["honest"] = client.check["lanes"][0]["honest"] = False  # type: ignore[index]
        await app.press("enter", "f9")
        await app.see("A lane FAILED the check")


@pytest.mark.parametrize("names", [("a" * 30, "b" * 40), ("x", "b" * 40, "灯台" * 20), ("a" * 30,) * 4])
def test_tabs_fit_the_window(names: tuple[str, ...]) -> None:
    talk = Comparison([f"run:{name}" for name in names])
    assert tabs(talk, 0, 80, {}, "✓ checked: tuned").cell_length <= 80


async def test_every_lane_is_checked(comparing: Any, client: ScriptedClient) -> None:
    third = "run:ember-2"
    plain = {**_side("c", third, 0.0), "tuned": True, "honest": False}
    client.check = {
        "honest": False, "same_base": True, "same_tokens": True, "same_template": True, "lanes_max_diff": 9.5,
        "lanes": [_side("a", BASE, 0.0), _side("b", TUNED, 9.5), plain],
    }  # fmt: skip
    async with comparing((170, 36), BASE, TUNED, third) as app:
        await ask(app, "Hi")
        await app.see("✓ checked: plain", "✓ checked: tuned", "✗ check failed")
        await app.press("f9")
        await app.see("C · ember-2 should be tuned, but", "All read the same 38 tokens")


async def test_a_lane_of_another_server_is_left_out_of_the_check(comparing: Any, client: ScriptedClient) -> None:
    asked: list[dict[str, str]] = []
    client.check = {"honest": True, "same_base": True, "lanes_max_diff": None, "lanes": [_side("a", BASE, 0.0)]}
    check = client.lane_check

    async def lane_check(lanes: Any) -> Any:
        asked.append(dict(lanes))
        return await check(lanes)

    client.lane_check = lane_check  # type: ignore[method-assign]
    async with comparing((120, 36), BASE, "http://127.0.0.1:1/v1#x") as app:
        for prompt in ("Hi", "Ho"):
            await ask(app, prompt)
            await answered(app)
        await app.see("✓ checked: plain")
        assert asked == [{"a": BASE}], "and once is enough"


async def test_one_lane_alone_is_checked_too(comparing: Any, client: ScriptedClient) -> None:
    client.check = {"honest": True, "same_base": True, "lanes_max_diff": None, "lanes": [_side("a", BASE, 0.0)]}
    async with comparing((120, 36), BASE) as app:
        await ask(app, "Hi")
        await app.see("✓ checked: plain")
        await app.press("f9")
        await app.see("is the plain model")
        assert "Both" not in app.text


async def test_in_a_narrow_window_the_tabs_show_the_check_and_the_vote_names_them(
    comparing: Any, client: ScriptedClient
) -> None:
    client.check = {"honest": True, "lanes": [_side("a", BASE, 0.0), _side("b", TUNED, 9.5)]}
    async with comparing((80, 24)) as app:
        await ask(app, "Hi")
        await app.see("^T other", "✓ checked: plain", "1 A", "2 B")
        await app.press("escape", "2")
        await app.see("You voted: B.")
        await app.press("b")
        await ask(app, "Who")
        await app.see("1 Left", "2 Right", "1 left  2 right")
        assert "checked" not in app.text


async def test_a_file_is_called_by_its_name_and_neither_base_nor_tuned(comparing: Any, client: ScriptedClient) -> None:
    file = "/home/a/exports/ember/ember-q8_0.gguf"
    async with comparing((120, 36), TUNED, file) as app:
        await app.see("ember-q8_0.gguf · file", "A GGUF file. It answers as it does in other programs.")
        assert "/home/a" not in app.text


async def test_alone_there_is_one_lane_and_the_way_to_another(drive: Drive, client: ScriptedClient) -> None:
    async with drive(size=(80, 24)) as app:
        await app.see("smollm2-135m · base", "F3 tunes one")
        await ask(app, "Hi")
        await app.see("I am a base model.")
        assert "better?" not in app.text


@pytest.mark.parametrize("hidden", [False, True])
def test_a_lane_says_what_was_thought_first_and_what_could_not_be_asked(hidden: bool) -> None:
    talk = Comparison(["a", "b"])
    talk.send("Hello?")
    note = "This server refuses seed: asked without it."
    for request in talk.due():
        talk.feed(request.id, "Hi.")
        talk.finish(request.id, Stats(tokens=1, note=note, reasoning="Hm.\nA greeting. " + "More. " * 100))
    talk.turns[0].blind = hidden
    notes = [block.text for block in rendering.turn_blocks(talk, 0, 0) if block.kind == "note"]
    assert (note in notes) is not hidden, "a note tells a server from a run"
    folded = [text for text in notes if text.startswith("thought 103 words first: Hm. A greeting.")]
    assert len(folded) == (0 if hidden else 1) and all(len(text) < 100 for text in folded)
