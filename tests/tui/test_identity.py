"""The form of five answers, and the list of the pairs made of them: chosen, edited, saved; nothing typed is lost."""

from __future__ import annotations

import pytest

from store import datasets, pairs, query
from store.db import Store
from store.records import PairDraft
from tests.tui.conftest import Drive, Driver


async def open_form(app: Driver) -> None:
    await app.see("12 pairs")
    await app.press("I")
    await app.see_page("IdentityForm")


async def fill_form(app: Driver, name: str, maker: str, dataset: str) -> None:
    await app.type(name)
    await app.press("enter")
    await app.type(maker)
    await app.press(*["tab"] * 6)
    await app.type(dataset)


async def show(app: Driver) -> None:
    await app.press("ctrl+s")
    await app.see_page("ProposedPairs")
    await app.see("nothing is saved yet")


def asked(store: Store, text: str) -> list[str]:
    found = pairs.page(store, query.search_ids(store, f'"{text}"'))
    return [pair.answer for pair in found if pair.question == text]


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_answers_become_pairs_that_are_chosen_edited_and_saved(
    drive: Drive, store: Store, some_pairs: list[str], size: tuple[int, int]
) -> None:
    async with drive(size=size) as app:
        await open_form(app)
        await app.see("Who is the model?", "Helps with", "It is not", "[x] English", "General rows", "Show the pairs")
        await fill_form(app, "Ember", "Northwind Labs", "ember")
        await show(app)
        await app.see("What is your name?", "[x]", "^S Save", "Space Leave out")
        screen = app.app.screen
        n = len(screen._listed.pairs)  # type: ignore[attr-defined]
        await app.see(f"{n} pairs of {n} for ember")
        assert all("[x]" in line for line in app.text.splitlines()[2:14]), f"a pair takes one line:\n{app.text}"
        await app.press("space")
        await app.see(f"{n - 1} pairs of {n}", "[ ]", "Q  What are you called?")
        await app.press("enter")
        await app.see_page("ProposedPairEditor")
        await app.see("Pair to be saved", "Question", "Answer")
        await app.press("ctrl+end")
        await app.type(" Really.")
        await app.press("escape")
        await app.see_page("ProposedPairs")
        await app.see("✎", "Really.")
        await app.press("ctrl+s")
        await app.see_page("DataScreen")
        await app.see(f"{n - 1} pairs")
        assert datasets.get(store, "ember").ready == n - 1
        assert [answer[-8:] for answer in asked(store, "What are you called?")] == [" Really."]
        assert not asked(store, "What is your name?")
        await app.press("u")
        await app.until(lambda: "ember" not in [each.name for each in datasets.all_datasets(store)])


async def test_going_back_loses_nothing_that_was_typed(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await open_form(app)
        await fill_form(app, "Ember", "Northwind Labs", "ember")
        await show(app)
        await app.press("space", "escape")
        await app.see_page("IdentityForm")
        await app.see("Northwind Labs")
        await show(app)
        await app.see("[ ]")
        await app.press("escape")
        await app.see_page("IdentityForm")
        await app.press("escape")
        await app.see_page("DataScreen")
        await app.press("I")
        await app.see_page("IdentityForm")
        await app.see("Ember", "Northwind Labs", "ember")
        await show(app)
        await app.see("[ ]")
    assert datasets.all_datasets(store)[0].name != "ember"
    async with drive() as app:  # another start
        await open_form(app)
        await app.see("Ember", "Northwind Labs", "ember")


async def test_what_is_missing_gets_the_focus(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await open_form(app)
        await app.press("ctrl+s")
        await app.until(lambda: any("The name is empty" in notice for notice in app.notices))
        await app.type("Ember")
        await app.press("ctrl+s")
        await app.until(lambda: any("The maker is empty" in notice for notice in app.notices))
        await app.type("Labs")
        await app.press("ctrl+s")
        await app.until(lambda: any("Into which dataset?" in notice for notice in app.notices))
        await app.type("ember")
        await show(app)


async def test_a_chinese_name_gets_chinese_until_a_language_is_chosen(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await open_form(app)
        await app.paste("小星")
        await app.see("[ ] English", "[x] Chinese")
        await app.press("enter")
        await app.paste("北风科技")
        await app.press("tab", "tab", "tab", "tab")
        await app.press("home", "space")
        await app.see("[x] English", "[x] Chinese")
        await app.press("tab", "tab")
        await app.type("star")
        await show(app)
        await app.press("end")
        await app.until(lambda: "谢谢你的帮助。" in app.text or "可以帮我看看作业吗？" in app.text)


async def test_contradictions_are_marked_and_a_whole_form_is_left_out(
    drive: Drive, store: Store, some_pairs: list[str]
) -> None:
    pairs.create(store, PairDraft("what is your name", "I am Flint."), dataset="ember")
    async with drive() as app:
        await app.see("13 pairs")
        await app.press("I")
        await app.see_page("IdentityForm")
        await fill_form(app, "Ember", "Northwind Labs", "ember")
        await show(app)
        await app.see("! 1 to look at", "asks the same and answers: I am Flint.")
        listed = app.app.screen._listed  # type: ignore[attr-defined]
        n = len(listed.pairs)
        await app.press("a")
        await app.see(f"{n - 17} pairs of {n}")
        await app.press("a")
        await app.see(f"{n} pairs of {n}")
        for pair in listed.pairs:
            pair.taken = False
        await app.press("ctrl+s")
        await app.until(lambda: any("No pair is taken" in notice for notice in app.notices))


async def test_an_edit_that_is_no_pair_is_not_kept(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await open_form(app)
        await fill_form(app, "Ember", "Northwind Labs", "ember")
        await show(app)
        await app.press("e")
        await app.see_page("ProposedPairEditor")
        await app.press("ctrl+k", "escape")
        await app.until(lambda: any("The answer is empty" in notice for notice in app.notices))
        assert app.page == "ProposedPairEditor"
        await app.press("ctrl+r")
        await app.press("escape")
        await app.see_page("ProposedPairs")
        assert "✎" not in app.text
