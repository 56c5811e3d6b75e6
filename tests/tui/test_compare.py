"""Compare as a person drives it: two lanes, keys only, with a scripted server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.keys import _character_to_key

from engine.client import Done
from engine.sampling import Sampling
from store import chats, datasets, pairs, votes
from store.db import Store
from store.errors import NotFound, ServerError
from store.records import PairDraft
from tests.tui.conftest import Drive, Driver
from tests.tui.scripted import ScriptedClient, by_model
from tui.screens.compare import CompareScreen
from tui.widgets.prompt import Prompt

BASE, TUNED = "smollm2-135m", "run:ember-1"
WORDS = {BASE: ["I am ", "a base ", "model."], TUNED: ["I am ", "Ember, ", "made by ", "Northwind Labs."]}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    made = ScriptedClient(by_model(WORDS))  # type: ignore[arg-type]
    monkeypatch.setattr("engine.client.Client.connect", made.connect)
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "compare")
    return made


@pytest.fixture
def comparing(drive: Drive, client: ScriptedClient) -> Any:
    """Compare with the base beside a tuned model, the prompt in focus."""

    @asynccontextmanager
    async def opened(size: tuple[int, int] = (120, 36), *models: str) -> AsyncIterator[Driver]:
        async with drive(size=size) as app:
            await app.see_page("CompareScreen")
            await screen(app).open_with(*(models or (BASE, TUNED)))
            await app.pilot.pause()
            yield app

    return opened


def screen(app: Driver) -> CompareScreen:
    assert isinstance(app.app.screen, CompareScreen)
    return app.app.screen


async def ask(app: Driver, text: str) -> None:
    """Write a prompt and send it; the letters themselves are pressed in a test of their own."""
    prompt = screen(app).query_one(Prompt)
    prompt.insert(text)
    prompt.action_send()
    await app.pilot.pause()


async def answered(app: Driver) -> None:
    await app.until(lambda: not screen(app).talk.busy)
    await app.pilot.pause(0.15)


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
        await app.press("f6")
        await app.see("I am Ember, made by Northwind Labs.")
        assert "a base model" not in app.text


async def test_escape_stops_and_keeps_what_was_said(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        client.gate.clear()
        await ask(app, "Hi")
        await app.until(lambda: client.open == 2 and screen(app).talk.answer("a").text)
        await app.press("escape")
        await app.until(lambda: client.open == 0)
        await app.see("stopped here")
        assert screen(app).talk.answer("b").text == "I am "
        assert screen(app).query_one("#prompt").has_focus  # the first Escape only stops
        await app.press("escape")
        assert screen(app).panel_in_focus is not None


async def test_escape_in_a_lane_stops_that_lane_alone(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        client.gate.clear()
        await ask(app, "Hi")
        await app.until(lambda: client.open == 2)
        await app.press("f6", "tab")
        await app.until(lambda: screen(app).panel_in_focus)
        position = screen(app).panel_in_focus.position  # type: ignore[union-attr]
        await app.press("escape")
        await app.until(lambda: client.open == 1)
        lanes = list(screen(app).talk.lanes.values())
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
        prompt = screen(app).query_one(Prompt)
        for key in ["h", "i", "ctrl+j", "y", "enter"]:  # as a fast typist's keys wait in a queue
            app.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await app.until(lambda: client.asked)
        await answered(app)
        assert client.asked[0][1][-1]["content"] == "hi\ny"
        await app.press("f6")
        await app.paste("pasted\ntext")  # to the app, as a terminal does: a paste given to a widget comes round again
        assert prompt.text == "pasted\ntext"
        await app.paste("x" * 100_001)
        await app.until(lambda: any("100,001" in note for note in app.told))
        assert prompt.text == "pasted\ntext"


async def test_again_new_seed_edit_and_new(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await ask(app, "One")
        await answered(app)
        await app.press("escape", "r")
        await answered(app)
        assert [m[-1]["content"] for _, m, _ in client.asked] == ["One"] * 4
        await app.press("R")
        assert any("temperature" in note for note in app.told)  # greedy: a seed would change nothing
        await app.press("e")
        await app.see("Editing the last prompt")
        await ask(app, " more")
        await answered(app)
        assert [t.prompt for t in screen(app).talk.turns] == ["One more"]
        await app.press("escape", "n")
        await app.until(lambda: screen(app).talk.empty)
        assert "One more" not in app.text


async def test_a_new_seed_is_the_same_new_one_for_both(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        screen(app).talk.sampling = Sampling(temperature=0.8, seed=3)
        await ask(app, "One")
        await answered(app)
        await app.press("escape", "R")
        await app.until(lambda: len(client.asked) == 4)
        await answered(app)
        seeds = [how.seed for _, _, how in client.asked]
        assert seeds[:2] == [3, 3] and seeds[2] == seeds[3] != 3


async def test_an_edit_can_be_left(comparing: Any) -> None:
    async with comparing() as app:
        await ask(app, "One")
        await answered(app)
        await app.press("escape", "e", "escape")
        assert screen(app).talk.turns[0].prompt == "One"
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
        assert any("empty" in note for note in app.told)
        assert screen(app).talk.empty
        await ask(app, "Hi")
        await app.see("There is no model x. Known: y.", "ok")


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
        lane = screen(app)._panel(0).lane
        assert lane.following
        lane.scroll_to(y=3, animate=False)
        await app.pilot.pause(0.15)
        assert not lane.following
        await app.see("End for the newest")
        client.gate.clear()
        screen(app).talk.send("More")
        screen(app).sync()
        await app.pilot.pause(0.3)
        assert lane.scroll_offset.y == 3
        client.gate.set()
        await answered(app)
        lane.focus()
        await app.press("end")
        assert lane.following


# -- votes ------------------------------------------------------------------------------------------------------------


async def test_vote_and_take_back(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await ask(app, "Who")
        await app.see("Which is better?")
        await app.press("escape", "2")
        await app.see("★ your vote", "You voted: right.")
        (vote,) = votes.all_votes(store)
        assert (vote.choice, vote.a_model, vote.b_model, vote.blind) == ("b", BASE, TUNED, False)
        assert vote.chat_id == chats.all_chats(store)[0].id
        await app.press("1")  # a change of mind takes the place of the first vote
        await app.see("You voted: left.")
        await app.until(lambda: [v.choice for v in votes.all_votes(store)] == ["a"])
        await app.press("u")
        await app.until(lambda: not votes.all_votes(store))
        await app.see("Which is better?")


async def test_blind_hides_the_names_until_the_vote(comparing: Any, store: Store, client: ScriptedClient) -> None:
    async with comparing() as app:
        await app.press("escape", "b", "escape")
        await ask(app, "Who")
        await app.see("Left", "Right", "hidden until you vote", "Which is better?")
        assert "smollm2-135m" not in app.text and "ember-1" not in app.text
        assert "tok/s" not in app.text  # the speed would tell
        await app.press("escape", "1")
        await app.until(lambda: len(votes.all_votes(store)) == 1)
        (vote,) = votes.all_votes(store)
        assert vote.blind
        left = screen(app).talk.turns[0].order[0]
        assert vote.choice == left and vote.a_left is (left == "a")
        await app.see("A · smollm2-135m", "B · ember-1")


async def test_the_same_answers_cannot_win(comparing: Any, client: ScriptedClient, store: Store) -> None:
    client.script = by_model({BASE: ["Same."], TUNED: ["Same."]})
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("escape", "1")
        await app.until(lambda: any("same, word for word" in note for note in app.told))
        await app.press("3")
        await app.until(lambda: len(votes.all_votes(store)) == 1)


async def test_votes_screen_counts_and_writes_preferences(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        for prompt in ("One", "Two", "Three"):
            await ask(app, prompt)
            await answered(app)
            screen(app).action_vote("right")
        await app.until(lambda: len(votes.all_votes(store)) == 3)
        await app.press("escape", "v")
        await app.see("ember-1 over smollm2-135m", "100%", "of 3", "could be chance")
        await app.press("x")
        folder = store.home.exports / "preferences"
        await app.until(lambda: (folder / "sharegpt.json").is_file())
        assert (folder / "trl.jsonl").read_text("utf-8").count('"chosen"') == 3
        await app.press("u")
        await app.until(lambda: len(votes.all_votes(store)) == 2)
        await app.press("escape")
        await app.see_page("CompareScreen")


# -- keeping ----------------------------------------------------------------------------------------------------------


async def test_an_answer_becomes_a_pair(comparing: Any, store: Store) -> None:
    datasets.create(store, "ember")
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("escape", "f6", "w")
        await app.see("Save this answer as a pair of", "ember")
        await app.press("enter")
        await app.until(lambda: pairs.count(store) == 1)
        ((pair, _),) = datasets.members(store, "ember")
        assert (pair.question, pair.answer) == ("Who", "I am Ember, made by Northwind Labs.")
        assert pair.source["model"] == TUNED and pair.source["chat"] == chats.all_chats(store)[0].id


async def test_a_corrected_answer_is_preferred_to_the_models(comparing: Any, store: Store) -> None:
    datasets.create(store, "ember")
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("escape", "c")
        await app.see("Save the corrected answer")
        await app.press("enter")
        await app.see_page("PairEditor")
        await app.press("ctrl+end")
        await app.type(" Really")
        await app.press("ctrl+s")
        await app.see_page("CompareScreen")
        await app.until(lambda: len(votes.preferences(store)) == 1)
        (kept,) = votes.preferences(store)
        assert (kept.chosen, kept.rejected) == ("I am a base model. Really", "I am a base model.")


async def test_an_answer_is_kept_and_the_other_rejected(comparing: Any, store: Store) -> None:
    datasets.create(store, "ember")
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("escape", "f6", "W")
        await app.see("Save this answer, the other as rejected, in", "ember")
        await app.press("enter")
        await app.until(lambda: len(votes.preferences(store, "ember")) == 1)
        (kept,) = votes.preferences(store)
        assert (kept.chosen, kept.rejected) == ("I am Ember, made by Northwind Labs.", "I am a base model.")
        assert (kept.source["model"], kept.source["rejected_model"]) == (TUNED, BASE)
        ((pair, _),) = datasets.members(store, "ember")
        assert pair.answer == kept.chosen


async def test_a_question_goes_to_a_dataset_without_an_answer(comparing: Any, store: Store) -> None:
    datasets.create(store, "ember")
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("escape", "Q")
        await app.see("Send this question to", "ember")
        await app.press("enter")
        await app.until(lambda: pairs.count(store) == 1)
        ((pair, _),) = datasets.members(store, "ember", status="draft")
        assert (pair.question, pair.answer, pair.source["chat"]) == ("Who", "", chats.all_chats(store)[0].id)


async def test_conversations_are_found_and_opened_again(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await ask(app, "First question")
        await answered(app)
        await app.press("ctrl+n")
        await ask(app, "Another matter")
        await answered(app)
        await app.until(lambda: len(chats.all_chats(store)) == 2)
        await app.press("ctrl+o")
        await app.see_page("Chats")
        await app.see("First question", "Another matter", "smollm2-135m | ember-1")
        await app.press("slash")
        await app.type("first")
        await app.until(lambda: "Another matter" not in app.text)
        await app.press("enter", "enter")
        await app.see_page("CompareScreen")
        await app.see("▌ First question", "I am Ember, made by Northwind Labs.")
        await ask(app, "And then")
        await answered(app)
        assert len(chats.all_chats(store)) == 2  # it goes on in the same one


async def test_fork_goes_on_apart(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        for prompt in ("One", "Two"):
            await ask(app, prompt)
            await answered(app)
        await app.press("escape", "f")
        await app.see("Go on after which turn?")
        await app.press("up", "enter")
        await app.until(lambda: len(screen(app).talk.turns) == 1)
        await ask(app, "Other")
        await answered(app)
        await app.until(lambda: len(chats.all_chats(store)) == 2)
        assert [t.prompt for t in screen(app).talk.turns] == ["One", "Other"]


async def test_transcript_and_copy_are_files_too(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("escape", "x")
        await app.until(lambda: list((store.home.exports / "chats").glob("chat-*.md")))
        await app.press("y")
        await app.until(lambda: (store.home.cache / "copied.txt").is_file())
        assert (store.home.cache / "copied.txt").read_text("utf-8") == "I am a base model."
        assert app.app.clipboard == "I am a base model."


async def test_what_the_mouse_selects_is_copied_as_it_was_written(
    comparing: Any, client: ScriptedClient, store: Store
) -> None:
    long = "one two three four five six seven eight nine ten eleven twelve 日本語 thirteen fourteen fifteen"
    client.script = by_model({BASE: [long], TUNED: ["short"]})
    async with comparing() as app:
        await ask(app, "Who")
        await app.see("fourteen fifteen")
        lane = screen(app)._panel(0).lane
        top = 2 + lane.gutter.top  # the prompt and a blank line stand above
        await app.pilot.mouse_down(lane, offset=(2 + lane.gutter.left + 4, top))
        await app.pilot.hover(lane, offset=(40, top + 1))
        await app.pilot.hover(lane, offset=(2 + lane.gutter.left + 40, top + 1))
        await app.pilot.mouse_up(lane, offset=(2 + lane.gutter.left + 40, top + 1))
        await app.press("y")  # the click took the focus there
        await app.until(lambda: app.app.clipboard)
        assert "\n" not in app.app.clipboard, "a break that only the width made"
        assert app.app.clipboard.startswith("two three") and app.app.clipboard in long
        await app.until(lambda: (store.home.cache / "copied.txt").is_file())
        assert (store.home.cache / "copied.txt").read_text("utf-8") == app.app.clipboard


async def test_diff_marks_what_differs(comparing: Any) -> None:
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("f8")
        await app.see_page("Diff")
        await app.see("of the words are the same", "I am a base model.", "Northwind Labs.")
        await app.press("escape")
        await app.see_page("CompareScreen")


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
        await app.see("Which prompts, to every lane?")
        await app.type(str(file))
        await app.press("enter")
        await app.see_page("Answers")
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
        await app.see("What every lane gets")
        await app.press("backspace", *"0.7")
        await app.press("ctrl+s")
        await app.see_page("CompareScreen")
        await app.see("temperature 0.7")
        await ask(app, "Hi")
        await answered(app)
        assert {how.temperature for _, _, how in client.asked} == {0.7}


async def test_a_wrong_setting_is_named(comparing: Any) -> None:
    async with comparing() as app:
        await app.press("f7")
        await app.see("What every lane gets")
        await app.press(*"hot", "ctrl+s")
        await app.see("temperature must be")
        await app.press("escape")
        assert screen(app).talk.sampling.temperature == 0


async def test_another_model_answers_anew_by_itself(comparing: Any, client: ScriptedClient, store: Store) -> None:
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
        await app.until(lambda: screen(app).models == ("http://h/v1#m", TUNED))


async def test_a_model_that_is_not_there_changes_nothing(comparing: Any, client: ScriptedClient) -> None:
    async with comparing() as app:
        await app.press("escape", "m")
        await app.see("Model of lane A")
        await app.type("http:nonsense")
        await app.press("enter")
        await app.until(lambda: any("There is no model" in note for note in app.told))
        assert screen(app).models == (BASE, TUNED)


async def test_lanes_come_and_go(comparing: Any, client: ScriptedClient) -> None:
    async with comparing((200, 50)) as app:
        await ask(app, "Hi")
        await answered(app)
        await app.press("escape", "plus")
        await app.see("Model of the new lane")
        await app.press(*"smol", "enter")
        await app.until(lambda: len(screen(app).talk.lanes) == 3)
        await answered(app)
        await app.see(" C ")
        assert screen(app).talk.answer("c").text == "I am a base model."
        await app.press("minus")
        await app.until(lambda: len(screen(app).talk.lanes) == 2)


async def test_four_lanes_stand_side_by_side_and_no_more(comparing: Any, client: ScriptedClient) -> None:
    async with comparing((220, 50), BASE, TUNED, BASE, TUNED) as app:
        await ask(app, "Hi")
        await answered(app)
        assert app.text.count("▌ Hi") == 4 and client.asked[0][1] == client.asked[3][1]
        await app.press("escape", "plus")
        await app.see("Model of the new lane")
        await app.press("enter")
        await app.until(lambda: any("4 lanes already" in note for note in app.told))
        assert len(screen(app).talk.lanes) == 4


async def test_a_lane_with_examples(comparing: Any, client: ScriptedClient, store: Store) -> None:
    pairs.create_many(store, [PairDraft(f"q{n}", f"a{n}") for n in range(6)], dataset="shop")
    async with comparing((200, 50)) as app:
        await ask(app, "Hi")
        await answered(app)
        await app.press("escape", "E")
        await app.see("Examples of which dataset?", "shop")
        await app.press("enter")
        await app.see("How many, before each prompt?", "4 examples")
        await app.press("enter")
        await app.until(lambda: len(screen(app).talk.lanes) == 3)
        await answered(app)
        await app.see("C  smollm2-135m · with 4 examples of shop")
        assert [len(messages) for _, messages, _ in client.asked] == [1, 1, 9]
        assert client.asked[-1][0] == BASE
        await app.press("w")
        await app.see("Save this answer as a pair of")
        await app.press("enter")
        await app.until(lambda: pairs.count(store) == 7)
        saved = pairs.page(store, pairs.search_ids(store, "Hi"))[0]
        assert saved.history == () and saved.source["model"] == "smollm2-135m with 4 examples of shop"
        await app.press("n")
        await app.see("Would prompting have done?")


async def test_a_blind_lane_with_examples_is_not_given_away(
    comparing: Any, client: ScriptedClient, store: Store
) -> None:
    pairs.create_many(store, [PairDraft("q", "a")], dataset="shop")
    end = Done("", tokens=4, dropped_turns=2)
    client.script = lambda model, messages: ["I am it." if len(messages) > 1 else "I am Ember.", end]
    async with comparing() as app:
        await app.press("escape", "f6", "minus")
        await app.until(lambda: len(screen(app).talk.lanes) == 1 and screen(app).panel_in_focus)
        await app.press("E", "enter")
        await app.see("How many, before each prompt?")
        await app.press("enter")
        await app.until(lambda: len(screen(app).talk.lanes) == 2)
        await app.press("b")
        await ask(app, "Who")
        await app.see("2 earlier messages did not fit", "Which is better?")
        assert not any(word in app.text for word in ("example", "shop", "smollm2"))
        await app.press("1")
        await app.see("with 1 example of shop", "its examples first")


async def test_the_proof_shows_and_marks(comparing: Any, client: ScriptedClient) -> None:
    def side(model: str, tuned: bool, diff: float) -> dict[str, Any]:
        return {"model": model, "tuned": tuned, "plain_max_diff": diff, "tokens": 38, "honest": True}

    client.proof = {
        "honest": True, "same_base": True, "same_tokens": True, "same_template": True, "lanes_max_diff": 9.5,
        "a": side(BASE, False, 0.0), "b": side(TUNED, True, 9.5),
    }  # fmt: skip
    async with comparing() as app:
        await ask(app, "Hi")
        await app.see("✓ proven plain", "✓ proven tuned")
        await app.press("f9")
        await app.see("Each lane is what it says", "is the plain model", "by up to 9.5", "same 38 tokens")
        client.proof["honest"] = client.proof["a"]["honest"] = False  # type: ignore[index]
        await app.press("enter", "f9")
        await app.see("A lane is NOT what it says")


async def test_alone_there_is_one_lane_and_the_way_to_another(drive: Drive, client: ScriptedClient) -> None:
    async with drive(size=(80, 24)) as app:
        await app.see("smollm2-135m · base", "F3 tunes one")
        await ask(app, "Hi")
        await app.see("I am a base model.")
        assert "better?" not in app.text
