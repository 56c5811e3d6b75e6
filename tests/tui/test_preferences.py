"""The Preferences page: preferences and feedback are listed, searched, read, removed and brought back."""

from __future__ import annotations

import pytest

from store import feedback, preference_rows, votes
from store.db import Store
from store.records import FeedbackDraft, PreferenceDraft, Turn
from tests.tui.conftest import Drive

EVIL = "\x1b]52;c;ZXZpbA==\x07"


@pytest.fixture
def judged(store: Store, some_pairs: list[str]) -> None:
    def asked(text: str) -> tuple[Turn, ...]:
        return (Turn("system", "Be brief."), Turn("user", text))

    votes.import_preferences(store, [PreferenceDraft(asked("Who are you?"), "Ember.", "A model.")], dataset="shop")
    drafts = [FeedbackDraft(asked("大语言模型"), "很好", True), FeedbackDraft(asked(f"Where?{EVIL}"), "No.", False)]
    feedback.add_feedback(store, drafts, dataset="care")


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_they_are_listed_searched_and_read(
    drive: Drive, store: Store, judged: None, size: tuple[int, int]
) -> None:
    async with drive(size=size) as app:
        await app.see("12 pairs")
        await app.press("V")
        await app.see("Who are you?", "大语言模型", "Where?", "preference", "feedback", "Be brief.")
        await app.press("slash")
        await app.type("模型")
        await app.see("大语言模型", "Good answer", "很好")
        await app.until(lambda: "Who are you?" not in app.text)
        await app.press("escape")
        await app.see("Who are you?")
        await app.press("escape", "escape")
        await app.see("12 pairs")


async def test_a_removed_row_comes_back(drive: Drive, store: Store, judged: None) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("V")
        await app.see("Who are you?")
        before = preference_rows.search(store)
        await app.press("delete")
        await app.until(lambda: len(preference_rows.search(store)) == 2)
        assert "Feedback removed. Press u to undo." in app.notices
        await app.press("u")
        await app.until(lambda: preference_rows.search(store) == before)


async def test_an_empty_list_says_where_they_come_from(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("V")
        await app.see("There is no preference or feedback in the store.", "import a file")
        await app.press("escape")
        await app.see("12 pairs")


async def test_the_data_screen_says_that_a_dataset_has_them(drive: Drive, store: Store, judged: None) -> None:
    votes.import_preferences(store, [PreferenceDraft((Turn("user", "q"),), "a", "b")], dataset="only")
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("D")
        await app.see("List which pairs?")
        await app.type("only")
        await app.press("enter")
        await app.see("The dataset only has no pairs, but preferences or feedback.", "V")
        await app.press("D")
        await app.see("List which pairs?")
        await app.type("care")
        await app.press("enter")
        await app.see("4 pairs", "2 preferences (V)")
