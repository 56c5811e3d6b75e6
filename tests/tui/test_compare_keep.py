"""What is taken out of Compare, with keys only: votes, pairs, copies, files, earlier conversations."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from engine.comparison import transcripts
from engine.inference.client import Done
from store import chats, datasets, pairs, votes
from store.db import Store
from store.records import Choice, PairDraft
from tests.tui.comparing import BASE, TUNED, answered, ask, screen
from tests.tui.scripted import ScriptedClient, by_model
from tui.screens.compare import votes as votes_screen
from tui.screens.compare.lane import GUTTER

# -- votes ------------------------------------------------------------------------------------------------------------


async def test_vote_and_undo(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await ask(app, "Who")
        await app.see("Which is better?")
        await app.press("escape", "2")
        await app.see("★ your vote", "You voted: right.")
        await app.until(lambda: votes.all_votes(store))  # shown at once, written a moment later
        (vote,) = votes.all_votes(store)
        assert (vote.choice, vote.a_model, vote.b_model, vote.blind) == ("b", BASE, TUNED, False)
        assert vote.chat_id == chats.all_chats(store)[0].id
        await app.press("1")  # a change of mind takes the place of the first vote
        await app.see("You voted: left.")
        await app.until(lambda: [v.choice for v in votes.all_votes(store)] == ["a"])
        await app.press("u")
        await app.until(lambda: not votes.all_votes(store))
        await app.see("Which is better?")


async def test_a_vote_undone_in_the_list_can_be_cast_again(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        earlier = votes.add(store, prompt=[{"role": "user", "content": "x"}], a_model="x", b_model="y", choice="a",
                            a_text="1", b_text="2", chat_id=chats.create(store, "another").id)  # fmt: skip
        await ask(app, "Who")
        await app.see("Which is better?")
        await app.press("escape", "1")
        await app.until(lambda: len(votes.all_votes(store)) == 2)
        await app.press("v")
        await app.see_page("Votes")
        await app.press("u")
        await app.until(lambda: votes.all_votes(store) == [earlier])
        await app.press("escape")
        await app.see("Which is better?")
        await app.press("u")
        await app.see("This conversation has no vote to undo")
        assert votes.all_votes(store) == [earlier], "a vote of another conversation is not ours to take"
        await app.press("1")
        await app.until(lambda: len(votes.all_votes(store)) == 2)


async def test_a_vote_outlives_its_conversation_on_the_screen(
    comparing: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast, gate = transcripts.cast_vote, threading.Event()
    monkeypatch.setattr(transcripts, "cast_vote", lambda *args: (gate.wait(5), cast(*args))[1])
    async with comparing() as app:
        await app.press("escape", "b")
        await ask(app, "Who")
        await app.see("Which is better?")
        await app.press("1", "n")
        await app.until(lambda: screen(app).comparison.empty)
        gate.set()
        await app.until(lambda: len(votes.all_votes(store)) == 1)
        assert app.app.is_running


async def test_a_vote_and_its_undo_come_in_that_order(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        for prompt in ("One", "Two"):
            await ask(app, prompt)
            await answered(app)
            await app.press("escape", "1") if prompt == "One" else screen(app).action_vote("left")
            await app.until(lambda: votes.all_votes(store))
        screen(app).action_unvote()
        await app.until(lambda: [v.turn for v in votes.all_votes(store)] == [0])


async def test_looking_at_the_votes_or_opening_a_lane_changes_none(comparing: Any, store: Store) -> None:
    async with comparing((200, 40)) as app:
        await app.press("escape", "b")
        await ask(app, "Who")
        await app.see("Which is better?")
        await app.press("1", "v")
        await app.see_page("Votes")
        await app.press("escape")
        await app.see_page("CompareScreen")
        assert screen(app).comparison.turns[0].blind, "it was cast blind"
        screen(app).comparison.add_lane(BASE)
        await screen(app).page.match_panels()
        screen(app).conversation.sync()
        await answered(app)
        await app.press("v")
        await app.see_page("Votes")
        await app.press("escape")
        await app.see_page("CompareScreen")
        screen(app).comparison.drop_lane("c")
        await screen(app).page.match_panels()
        await app.see("You voted")
        await app.press("2")
        await app.until(lambda: [v.choice for v in votes.all_votes(store)] != [])
        await app.see("You voted")
        assert len(votes.all_votes(store)) == 1


async def test_undoing_a_vote_hides_and_shows_nothing_else(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        await app.press("escape", "b")
        await ask(app, "Who")
        await app.see("Which is better?")
        await app.press("1")
        await app.until(lambda: len(votes.all_votes(store)) == 1)
        await app.press("r")
        await answered(app)
        assert screen(app).comparison.turns[0].hidden
        client = screen(app)
        client.comparison.answer("a").text += " Anew."
        await app.press("u")
        await app.until(lambda: not votes.all_votes(store))
        await app.pilot.pause(0.1)
        assert screen(app).comparison.turns[0].hidden, "the vote was on another answer"


async def test_what_streams_is_kept_when_another_conversation_begins(
    comparing: Any, client: ScriptedClient, store: Store
) -> None:
    client.gate.clear()
    async with comparing() as app:
        await ask(app, "Who")
        await app.until(lambda: all(lane.answers[-1].text for lane in screen(app).comparison.lanes.values()))
        await screen(app).action_new()
        (chat,) = chats.all_chats(store)

        def said() -> list[str]:
            return [m.text for m in chats.tree(store, chat.id) if m.role == "assistant"]

        await app.until(said)
        assert said() == ["I am ", "I am "]


async def test_what_broke_off_is_neither_voted_on_nor_trained_on(
    comparing: Any, client: ScriptedClient, store: Store
) -> None:
    cut = Done("", tokens=64, stop="length")
    client.script = by_model({BASE: ["Half a ", Done("", stop="error", error="gone")], TUNED: ["So long", cut]})
    async with comparing() as app:
        await ask(app, "Who")
        await app.see("gone", "cut at the limit")
        assert "better?" not in app.text
        await app.press("escape", "2")
        await app.until(lambda: any("broke off" in note for note in app.notices))
        assert not votes.all_votes(store)
        await app.press("w")
        await app.see("Save this answer to a dataset")
        await app.type("ember")
        await app.press("enter")
        await app.see("did not end by itself: saved as a draft")
        assert [pair.status for pair, _ in datasets.members(store, "ember", status=None)] == ["draft"]
        await app.press("W")
        await app.see("An incomplete answer cannot be preferred")
        client.script = by_model({BASE: ["Half a ", Done("", stop="error", error="gone")], TUNED: ["Whole."]})
        await app.press("r")
        await answered(app)
        await app.press("f6", "W")
        await app.see("no different answer to reject")
        assert not votes.preferences(store)


async def test_an_answer_kept_twice_is_one_pair(comparing: Any, store: Store) -> None:
    pairs.create(store, PairDraft("q", "a"), dataset="ember")
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        for key, said in (("w", "Saved as a ready pair"), ("w", "exists already"), ("W", "kept as rejected")):
            await app.press("escape", key) if key == "w" and said.startswith("Saved") else await app.press(key)
            await app.see("this answer")
            await app.press("enter")
            await app.see(said)
        assert len(pairs.search_ids(store, "base model")) == 1


async def test_blind_hides_the_names_until_the_vote(comparing: Any, store: Store, client: ScriptedClient) -> None:
    async with comparing() as app:
        await app.press("escape", "b", "escape")
        await ask(app, "Who")
        await app.see("Left", "Right", "hidden until you vote", "Which is better?")
        assert "smollm2-135m" not in app.text and "ember-1" not in app.text
        assert "tok/s" not in app.text  # the speed would tell
        await app.press("escape", "x")
        await app.see("The sides are hidden")
        assert not (store.home.exports / "chats").exists()
        await app.press("1")
        await app.until(lambda: len(votes.all_votes(store)) == 1)
        (vote,) = votes.all_votes(store)
        assert vote.blind
        left = screen(app).comparison.turns[0].order[0]
        assert vote.choice == left and vote.a_left is (left == "a")
        await app.see("A · smollm2-135m", "B · ember-1")


async def test_the_same_answers_cannot_win(comparing: Any, client: ScriptedClient, store: Store) -> None:
    client.script = by_model({BASE: ["Same."], TUNED: ["Same."]})
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("escape", "1")
        await app.until(lambda: any("same, word for word" in note for note in app.notices))
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


@pytest.mark.parametrize("width", [80, 120])
async def test_the_votes_name_the_winner_on_whole_lines(comparing: Any, store: Store, width: int) -> None:
    cast: tuple[Choice, ...] = ("a", "a", "a", "tie", "both_bad")
    for choice in cast:
        votes.add(
            store, prompt=[], a_model=BASE, b_model="run:demo", a_text="one", b_text="two", choice=choice, sampling={}
        )
    async with comparing((width, 24)) as app:
        await app.press("escape", "v")
        await app.see("smollm2-135m over demo  ━━━━━━━━━━━━━━━━━━━━ 100% (44% to 100%) of 3, 1 tie,")
        await app.see("1 both bad, could be chance")
        assert "demo over" not in app.text
        await app.pilot.resize_terminal(200 - width, 24)
        await app.see("1 both bad, could be chance")
        on_one_line = any("1 tie, 1 both bad, could be chance" in line for line in app.text.splitlines())
        assert on_one_line is (200 - width > 100)


def test_the_winner_is_named_and_in_a_draw_the_tuned_model(store: Store) -> None:
    def named(*cast: Choice) -> str:
        for choice in cast:
            votes.add(
                store, prompt=[], a_model="run:x", b_model=BASE, a_text="1", b_text="2", choice=choice, sampling={}
            )
        (found,) = votes_screen.standing(store).rates
        return found.b_model

    assert named("a") == "run:x"
    assert named("b") == "run:x"
    assert named("b", "tie") == BASE


# -- keeping ----------------------------------------------------------------------------------------------------------


async def test_an_answer_becomes_a_pair(comparing: Any, store: Store) -> None:
    datasets.create(store, "ember")
    async with comparing() as app:
        await ask(app, "Who")
        await answered(app)
        await app.press("escape", "f6", "w")
        await app.see("Save this answer to a dataset", "ember")
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
        await app.see("Save this answer, the other one as rejected", "ember")
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
        await app.see("Save this question to a dataset", "ember")
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


@pytest.mark.parametrize("width", [80, 120, 200])
async def test_the_age_of_a_conversation_always_shows(comparing: Any, store: Store, width: int) -> None:
    models = [BASE, "run:ember-with-a-long-name", "run:ember-2", "run:another-long-name"]
    long = "run:" + "an-endless-name-" * 9
    for title, lanes in (("Four", models), ("Three", models[:3]), ("Two", models[:2]), ("Long", [long, BASE])):
        chats.create(store, title, {"lanes": dict(zip("abcd", lanes, strict=False))})
    with store.write() as db:
        db.execute("UPDATE chat SET updated_at = updated_at - 25 * 60000")
    async with comparing((width, 24)) as app:
        await app.press("ctrl+o")
        await app.see("Four", "Long")
        rows = {line.split()[0]: line for line in app.text.splitlines() if line.endswith("25 min")}
        assert rows.keys() == {"Four", "Three", "Two", "Long"}, app.text
        assert "… + 1 more  25 min" in rows["Long"]
        if width == 80:
            assert rows["Four"].endswith("  smollm2-135m + 3 more  25 min")
        if width == 200:
            assert "smollm2-135m | ember-with-a-long-name | ember-2 | another-long-name  25 min" in rows["Four"]
        await app.pilot.resize_terminal(60, 24)
        await app.until(lambda: app.text.count("25 min") == 4)
        assert sum(line.endswith("25 min") for line in app.text.splitlines()) == 4


async def test_fork_goes_on_apart(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        for prompt in ("One", "Two"):
            await ask(app, prompt)
            await answered(app)
        await app.press("escape", "f")
        await app.see("Continue after which turn?")
        await app.press("up", "enter")
        await app.until(lambda: len(screen(app).comparison.turns) == 1)
        await ask(app, "Other")
        await answered(app)
        await app.until(lambda: len(chats.all_chats(store)) == 2)
        assert [t.prompt for t in screen(app).comparison.turns] == ["One", "Other"]


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
        lane = screen(app).page.panel(0).lane
        top = 2 + lane.gutter.top  # the prompt and a blank line stand above
        await app.pilot.mouse_down(lane, offset=(GUTTER + lane.gutter.left + 4, top))
        await app.pilot.hover(lane, offset=(40, top + 1))
        await app.pilot.hover(lane, offset=(GUTTER + lane.gutter.left + 40, top + 1))
        await app.pilot.mouse_up(lane, offset=(GUTTER + lane.gutter.left + 40, top + 1))
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


async def test_earlier_answers_of_a_kept_conversation_are_context_only(comparing: Any, store: Store) -> None:
    async with comparing() as app:
        for prompt in ("One", "Two", "Three"):
            await ask(app, prompt)
            await answered(app)
            await app.press("escape")
        draft = screen(app).keeping.draft()
        assert draft is not None and [turn.role for turn in draft.history] == ["user", "assistant"] * 2
        pair = pairs.create(store, draft)
        weights = [m.get("weight") for m in pair.training_messages() if m["role"] == "assistant"]
        assert weights == [0, 0, None], "only the answer that was chosen is trained"
