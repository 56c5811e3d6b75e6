"""The Problems page: what lint found in a dataset is read, opened, fixed after a preview, muted and undone."""

from __future__ import annotations

import pytest

from store import pairs, problems, review, votes
from store.db import Store
from store.records import PairDraft, PreferenceDraft, Turn
from tests.tui.conftest import Drive, Driver


@pytest.fixture
def faulty(store: Store, some_pairs: list[str]) -> str:
    pairs.create(store, PairDraft("Where is it?\u200b", "Ships &amp; boats."), dataset="bad")
    return pairs.create(store, PairDraft("Who are you?", "I am Ember.<|im_end|>"), dataset="bad").uid


async def open_problems(app: Driver, dataset: str) -> None:
    await app.see("pairs")
    await app.press("D")
    await app.see("List which pairs?")
    await app.type(dataset)
    await app.press("enter")
    await app.until(lambda: app.page == "DataScreen")
    await app.until(lambda: app.app.screen.query_now.dataset == dataset)  # type: ignore[attr-defined]
    await app.press("L")
    await app.until(lambda: app.page == "ProblemList")


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_findings_are_listed_worst_first_with_the_faulty_place(
    drive: Drive, faulty: str, size: tuple[int, int]
) -> None:
    async with drive(size=size) as app:
        await open_problems(app, "bad")
        await app.see("bad: 1 error, 2 warnings", "✗ marker", "! invisible", "! entity", "I am Ember.<|im_end|>")
        await app.press("down")
        await app.see("contains the invisible character U+200B", "⟨U+200B⟩")
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")


async def test_a_fix_is_shown_then_made_then_undone(drive: Drive, store: Store, faulty: str) -> None:
    async with drive() as app:
        await open_problems(app, "bad")
        await app.see("✗ marker")
        await app.press("c")
        await app.see("Fix marker", "1 text in 1 pair", "Fix 1 pair")
        await app.press("escape")
        await app.until(lambda: app.page == "ProblemList")
        assert pairs.get(store, faulty).answer == "I am Ember.<|im_end|>", "nothing was changed"
        await app.press("c")
        await app.see("Fix 1 pair")
        await app.press("right", "enter")
        await app.until(lambda: pairs.get(store, faulty).answer == "I am Ember.")
        await app.see("bad: 2 warnings")
        assert "1 pair corrected. Press u to undo." in app.notices
        await app.press("u")
        await app.until(lambda: pairs.get(store, faulty).answer == "I am Ember.<|im_end|>")
        await app.see("✗ marker")


async def test_enter_opens_the_pair(drive: Drive, faulty: str) -> None:
    async with drive() as app:
        await open_problems(app, "bad")
        await app.see("✗ marker")
        await app.press("enter")
        await app.until(lambda: app.page == "PairEditor")
        await app.see("I am Ember.<|im_end|>")
        await app.press("escape")
        await app.until(lambda: app.page == "ProblemList")


async def test_a_finding_or_a_rule_is_muted(drive: Drive, store: Store, faulty: str) -> None:
    async with drive() as app:
        await open_problems(app, "bad")
        await app.see("✗ marker")
        await app.press("z")
        await app.see("bad: 2 warnings · 1 muted")
        await app.press("Z")
        await app.see("bad: 1 warning · 2 muted")
        assert [(each.uid, each.dataset) for each in review.muted(store)] == [(faulty, None), (None, "bad")]
        await app.press("Z")
        await app.see("No problems found in bad.", "3 findings of muted rules left out")


async def test_what_has_no_fix_says_so(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    pairs.create(store, PairDraft("Name a poet.", "N/A"), dataset="bad")
    votes.import_preferences(
        store, [PreferenceDraft((Turn("user", "Who?"),), "I am Ember.<|im_end|>", "No one.")], dataset="bad"
    )
    async with drive() as app:
        await open_problems(app, "bad")
        await app.see("✗ filler", "✗ marker", "Question: Name a poet.")
        await app.press("c")
        await app.until(lambda: any("filler has no fix" in notice for notice in app.notices))
        await app.press("down")
        await app.see("The chosen contains", "Question: Who?")
        await app.press("c")
        await app.until(lambda: any("marker can correct nothing here" in notice for notice in app.notices))
        await app.press("enter")
        await app.until(lambda: any("cannot be edited" in notice for notice in app.notices))
        assert len(problems.find(store, "bad").findings) == 2


async def test_it_needs_a_dataset(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("L")
        await app.until(lambda: any("Choose a dataset first (D)" in notice for notice in app.notices))
        assert app.page == "DataScreen"
