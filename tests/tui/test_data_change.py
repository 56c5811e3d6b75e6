"""The Data screen writes: new pairs, edits, conflicts, drafts, marks, deletion, undo."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from store import datasets, pairs, votes
from store.db import Store
from store.records import PairDraft, PreferenceDraft, Turn
from tests.tui.conftest import Drive
from tui import drafts
from tui.screens.data import finder
from tui.screens.data.pair_editor import PairEditor
from tui.widgets.prose import Prose


async def test_writes_a_new_pair_into_the_listed_dataset(drive: Drive, store: Store) -> None:
    datasets.create(store, "shop")
    async with drive() as app:
        await app.see("There are no pairs yet.", "Load the sample data")
        await app.press("D", "down", "enter")
        await app.see("The dataset shop has no pairs yet.")
        await app.press("n")
        await app.see("New pair in shop")
        await app.type("Who are you?")
        await app.press("tab")
        await app.type("I am Ember.")
        await app.press("tab", "tab")
        await app.type("name short")
        await app.press("tab", "right")
        await app.press("ctrl+s")
        await app.see("Who are you?", "I am Ember.", "1 pair · 1 ready")
    pair = pairs.page(store, pairs.search_ids(store, dataset="shop"))[0]
    assert (pair.question, pair.answer, pair.kind) == ("Who are you?", "I am Ember.", "identity")
    assert (pair.tags, pair.status) == (("name", "short"), "ready")
    assert not drafts.keys(store.home)


async def test_a_pair_without_an_answer_is_saved_as_a_draft(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("n")
        await app.see_page("PairEditor")
        await app.type("Why?")
        await app.press("f8")
        await app.see("Why?", "no answer yet", "13 pairs")
        assert "Saved as a draft: it has no answer yet." in app.notices


async def test_an_empty_question_is_pointed_at(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("n")
        await app.see_page("PairEditor")
        await app.press("tab")
        await app.type("An answer to nothing")
        await app.press("ctrl+s")
        await app.until(lambda: any("question is empty" in text for text in app.notices))
        assert app.page == "PairEditor"
        assert app.app.focused and app.app.focused.id == "question"


async def test_saves_several_in_a_row(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("n")
        for n in range(2):
            await app.see("New pair")
            await app.type(f"New {n}?")
            await app.press("tab")
            await app.type("Yes.")
            await app.press("ctrl+n")
            await app.until(lambda n=n: pairs.count(store) == 13 + n)
            await app.until(lambda: not app.app.screen.query_one("#question", Prose).text)
        await app.press("escape")
        await app.see("New 1?", "14 pairs")


async def test_edits_and_undoes_and_redoes(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("enter")
        await app.see(f"Pair {some_pairs[-1]}", "revision 1")
        await app.press("ctrl+end")
        await app.type(" Twice")
        await app.press("ctrl+s")
        await app.see("12 pairs")
        assert pairs.get(store, some_pairs[-1]).answer.endswith("cup. Twice")
        await app.press("u")
        await app.until(lambda: pairs.get(store, some_pairs[-1]).answer.endswith("cup."))
        await app.press("U")
        await app.until(lambda: pairs.get(store, some_pairs[-1]).answer.endswith("Twice"))
        await app.until(lambda: any("Redid: edit, 1 row" in text for text in app.notices))
        assert len(app.notices) == 1, "each notice takes the place of the one before, so that they do not hide the list"
        await app.press("u")
        await app.until(lambda: pairs.get(store, some_pairs[-1]).answer.endswith("cup."))


async def test_control_characters_in_a_stored_text_survive_an_edit_elsewhere(drive: Drive, store: Store) -> None:
    wild = "an answer \x1b[31m\u202e with what a terminal obeys"
    pair = pairs.create(store, PairDraft("Question?", wild))
    async with drive() as app:
        await app.see("1 pair")
        await app.press("enter")
        await app.see("an answer [31m with what")
        await app.press("shift+tab")
        await app.press("ctrl+end")
        await app.type(" More")
        await app.press("ctrl+s")
        await app.until(lambda: pairs.get(store, pair.uid).question == "Question? More")
    assert pairs.get(store, pair.uid).answer == wild


async def test_pasted_text_is_cleaned(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    from textual import events

    async with drive() as app:
        await app.see("12 pairs")
        await app.press("n")
        await app.see_page("PairEditor")
        app.app.post_message(events.Paste("two\r\nlines \x1b]52;c;AAAA\x07"))
        await app.see("two", "lines ]52;c;AAAA")
        assert app.app.screen.query_one("#question", Prose).text == "two\nlines ]52;c;AAAA"


async def test_escape_keeps_what_was_typed_and_it_comes_back(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("enter")
        await app.see_page("PairEditor")
        await app.press("ctrl+end")
        await app.type(" Unsaved")
        await app.press("escape")
        await app.see("1 unsaved draft")
        assert pairs.get(store, some_pairs[-1]).revision == 1
    async with drive() as app:
        await app.see("1 unsaved draft")
        await app.press("enter")
        await app.see("Restored your unsaved text.", "cup. Unsaved")
        await app.press("ctrl+r")
        await app.until(lambda: "Unsaved" not in app.text)
        await app.press("escape")
        await app.see("12 pairs")
        assert "unsaved" not in app.text
    assert not drafts.keys(store.home)


async def test_typing_is_kept_on_disk_while_it_goes_on(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("n")
        await app.see_page("PairEditor")
        await app.type("half a ques")
        await app.until(lambda: drafts.NEW in drafts.keys(store.home))
        kept = json.loads((drafts.folder(store.home) / "new.json").read_text())
        assert kept["question"] == "half a ques"
        await app.type("tion")
        app.app.save_drafts()  # what a hang-up does
    found = drafts.load(store.home, drafts.NEW)
    assert found and found.question == "half a question"


@pytest.mark.parametrize("choice", ["mine", "theirs", "back"])
async def test_a_conflict_shows_both_texts_and_lets_choose(
    drive: Drive, store: Store, some_pairs: list[str], choice: str
) -> None:
    uid = some_pairs[-1]
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("enter")
        await app.see_page("PairEditor")
        await app.press("ctrl+end")
        await app.type(" Mine")
        pairs.edit(store, uid, answer="Theirs", actor="import")
        await app.press("ctrl+s")
        await app.see("This pair was changed while you edited it", "Stored now", "→ Theirs", "Typed here", "cup. Mine")
        assert app.app.focused and app.app.focused.id == "back"
        await app.pilot.pause()  # four buttons are put one above the other once they are measured
        await app.pilot.click(f"#{choice}")
        if choice == "mine":
            await app.see_page("DataScreen")
        else:
            await app.see_page("PairEditor")
            shown = "Theirs" if choice == "theirs" else "Answer 11: look under the cup. Mine"
            await app.until(lambda: app.app.screen.query_one("#answer", Prose).text == shown)
    answers = [pair.answer for pair in pairs.revisions(store, uid)]
    mine = ["Answer 11: look under the cup. Mine"] if choice == "mine" else []
    assert answers == ["Answer 11: look under the cup.", "Theirs", *mine]


async def test_a_conflict_opens_the_revisions_that_it_names(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive(size=(80, 24)) as app:
        await app.see("12 pairs")
        await app.press("enter")
        await app.see_page("PairEditor")
        await app.press("ctrl+end")
        await app.type(" Mine")
        pairs.edit(store, some_pairs[-1], answer="Theirs", actor="import")
        await app.press("ctrl+s")
        await app.see_page("ConflictDialog")
        await app.press("ctrl+l")
        await app.see_page("JumpScreen")
        await app.press("s")  # the second button
        await app.see("History of the pair", "revision 2", "revision 1")
        assert "Restore" not in app.text
        await app.press("escape")
        await app.see_page("ConflictDialog")
        assert pairs.get(store, some_pairs[-1]).answer == "Theirs"


async def test_sets_a_status_and_moves_to_the_next(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs", "1/12")
        await app.press("1")
        await app.until(lambda: pairs.get(store, some_pairs[-1]).status == "ready")
        await app.see("2/12")
        await app.press("3")
        await app.until(lambda: pairs.get(store, some_pairs[-2]).status == "rejected")
        await app.see("3/12")
        await app.press("space", "space", "2")
        await app.until(lambda: pairs.get(store, some_pairs[-4]).status == "draft")
        await app.until(lambda: any("2 pairs set to draft. Press u to undo." in text for text in app.notices))


async def test_a_list_that_comes_late_leaves_the_cursor_where_it_went(
    drive: Drive, some_pairs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive() as app:
        await app.see("12 pairs", "1/12")
        find, gate = finder.find, threading.Event()

        def slowly(*args: Any) -> Any:
            found = find(*args)
            gate.wait(5)
            return found

        monkeypatch.setattr(finder, "find", slowly)
        app.app.screen.reload()  # type: ignore[attr-defined]
        await app.press("space", "space")
        gate.set()
        await app.see("2 marked", "3/12")
        await app.pilot.pause(0.1)
        await app.see("2 marked", "3/12")


async def test_a_pair_without_an_answer_cannot_be_made_ready(drive: Drive, store: Store) -> None:
    pairs.create(store, PairDraft("Bare?", status="draft"))
    async with drive() as app:
        await app.see("1 pair")
        await app.press("1")
        await app.until(lambda: any("no answer" in text for text in app.notices))
        assert app.app.is_running


async def test_deletes_one_at_once_and_many_after_a_question(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("delete")
        await app.see("11 pairs")
        assert "1 pair deleted. Press u to undo." in app.notices
        await app.press("u")
        await app.see("12 pairs")
        await app.press("space", "space", "space", "delete")
        await app.see("Delete 3 marked pairs", "from every dataset?")
        assert app.app.focused and app.app.focused.id == "cancel"
        await app.press("enter")
        await app.see("● 3 marked")
        assert pairs.count(store) == 12
        await app.press("delete", "right", "enter")
        await app.see("9 pairs")
        await app.press("u")
        await app.see("12 pairs")


async def test_puts_pairs_into_a_dataset_and_takes_them_out(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("minus")
        await app.until(lambda: any("Choose a dataset first" in text for text in app.notices))
        await app.press("a", "plus")
        await app.see("Add 12 pairs to which dataset?")
        await app.type("care")
        await app.press("enter")
        await app.until(lambda: "Added 8 pairs to care; 4 already there." in app.notices)
        await app.press("D")
        await app.see("List which pairs?")
        await app.type("care")
        await app.press("enter")
        await app.see("12 pairs · 6 ready · ")
        await app.press("minus")
        await app.see("11 pairs of 12")
    assert datasets.get(store, "care").pairs == 11


async def test_an_editor_that_leaves_late_takes_only_itself_away(
    drive: Drive, some_pairs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, gate = PairEditor._keep, asyncio.Event()

    async def slowly(editor: PairEditor, draft: Any) -> None:
        await keep(editor, draft)
        await gate.wait()

    monkeypatch.setattr(PairEditor, "_keep", slowly)
    async with drive() as app:
        await app.see("12 pairs")
        for away, page in (("f3", "TrainScreen"), ("ctrl+q", "Confirm")):
            gate.clear()
            await app.press("n")
            await app.see_page("PairEditor")
            await app.type("half a thought")
            await app.press("escape", away)
            await app.see_page(page)
            gate.set()
            await app.pilot.pause(0.1)
            assert type(app.app.screen).__name__ == page
            await app.press("f2" if away == "f3" else "escape")
            await app.see_page("DataScreen")


async def test_renames_splits_and_removes_a_dataset(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("D")
        await app.see("List which pairs?")
        await app.type("shop")
        await app.press("enter")
        await app.see("D shop")
        await app.press("R")
        await app.see("Rename dataset", "shop")
        await app.type("store")
        await app.press("enter")
        await app.see("D store")
        await app.press("percent_sign")
        await app.see("Split the 12 pairs of store", "to move.")
        await app.press("enter")
        await app.until(lambda: datasets.get(store, "store").val >= 1)
        await app.press("X")
        await app.see("Remove the dataset store? Its 12 pairs stay")
        await app.press("right", "enter")
        await app.see("D all pairs", "12 pairs")
    assert [each.name for each in datasets.all_datasets(store)] == ["care"]


async def test_an_empty_dataset_is_not_split(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    datasets.create(store, "empty")
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("D")
        await app.see("List which pairs?")
        await app.type("empty")
        await app.press("enter")
        await app.see("D empty")
        await app.press("percent_sign")
        await app.until(lambda: "empty has no pairs to split." in app.notices)
        await app.see_page("DataScreen")
        await app.press("X")
        await app.see("Remove the dataset empty? It has no pairs.")


async def test_the_questions_name_what_stays_and_what_goes(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    datasets.set_split(store, "care", some_pairs[:1], "test")
    votes.import_preferences(store, [PreferenceDraft((Turn("user", "q"),), "good", "bad")], dataset="care")
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("D")
        await app.see("List which pairs?")
        await app.type("care")
        await app.press("enter")
        await app.see("D care")
        await app.press("percent_sign")
        await app.see("to move.")
        lines = [line.split("│")[1].strip(" ▁▂▃▄▅▆▇█") for line in app.text.splitlines() if line.count("│") == 2]
        asked = " ".join(" ".join(lines).split())  # however it is wrapped
        assert "1 pair whose split" in asked and "will not be moved, unless you choose so." in asked
        await app.press("enter")
        await app.until(lambda: datasets.get(store, "care").test == 1 and datasets.get(store, "care").val)
        await app.press("X")
        await app.see("1 preference or feedback row", "u undoes it.")
        await app.press("right", "enter")
        await app.see("D all pairs")
        await app.press("u")
        await app.until(lambda: "Undid: remove the dataset care, 5 rows." in app.notices)
        await app.press("u")
        await app.until(lambda: datasets.get(store, "care").val == 0)
    there = datasets.get(store, "care")
    assert (there.pairs, there.train, there.test, there.preferences) == (4, 3, 1, 1)
