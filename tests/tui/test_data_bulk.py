"""Many pairs at once on the Data screen: change, find and replace, copy, history."""

from __future__ import annotations

from store import datasets, pairs, query
from store.db import Store
from store.records import PairDraft
from tests.tui.conftest import Drive


async def test_changes_what_a_search_found(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("slash")
        await app.type("status:rejected")
        await app.see("of 12")
        await app.press("enter", "a", "B")
        await app.see("Change 3 pairs")
        await app.press("right")  # draft
        await app.press("tab", "tab")
        await app.type("fix later")
        await app.press("tab", "tab")
        await app.type("todo")
        await app.press("tab", "right", "right", "tab", "tab", "enter")
        await app.until(lambda: any("3 pairs of 3 changed" in text for text in app.notices))
        found = pairs.page(store, query.search_ids(store, "tag:fix dataset:todo"))
        assert [(pair.status, pair.tags[-2:]) for pair in found] == [("draft", ("fix", "later"))] * 3
        assert datasets.get(store, "todo").val == 3
        await app.press("u")
        await app.until(lambda: not query.uids(store, "tag:fix"))


async def test_replaces_what_it_shows(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("a", "F")
        await app.see("Find and replace in 12 pairs")
        await app.type("my (l")
        await app.see("Found in no pair")
        await app.press("tab")
        await app.type("the l")
        await app.press("tab", "right")
        await app.see("not a regular expression")
        await app.press("shift+tab", "shift+tab", "end", "backspace", "backspace")
        await app.type("lamp")
        await app.see("1 place in 1 pair", "my", "the l")
        await app.press("enter")
        await app.until(lambda: query.uids(store, '"the l"'))
        assert len(query.uids(store, '"the l"')) == 1


async def test_copies_a_pair_and_opens_the_copy(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("y")
        await app.see_page("PairEditor")
        await app.see("Question 11", "draft")
        await app.press("escape")
        await app.see("13 pairs")
        assert pairs.page(store, pairs.search_ids(store))[0].question == "Question 11: where is my cup?"


async def test_history_shows_and_restores(drive: Drive, store: Store) -> None:
    uid = pairs.create(store, PairDraft("Where?", "Here it is.")).uid
    pairs.edit(store, uid, answer="There it is.")
    async with drive() as app:
        await app.see("1 pair")
        await app.press("h")
        await app.see("revision 2", "revision 1", "HereThere it is.")
        await app.press("down")
        await app.see("answer  Here it is.")
        await app.press("enter", "enter")
        await app.until(lambda: pairs.get(store, uid).answer == "Here it is.")
        await app.see("Here it is.")


async def test_typing_a_question_that_is_there_already_warns(drive: Drive, store: Store) -> None:
    uid = pairs.create(store, PairDraft("Who are you?", "I am Ember.")).uid
    async with drive() as app:
        await app.see("1 pair")
        await app.press("n")
        await app.see_page("PairEditor")
        await app.type("who are you")
        await app.see(f"1 pair asks the same and answers differently: I am Ember. ({uid})")
        await app.press("tab")
        await app.type("I am Ember.")
        await app.see(f"The pair {uid} has the same question and answer.")
        await app.type(" Yes")
        await app.see("answers differently")
        await app.press("shift+tab")
        await app.type("??")
        await app.type(" x")
        await app.until(lambda: "differently" not in app.text)


async def test_a_conflict_can_keep_both(drive: Drive, store: Store) -> None:
    uid = pairs.create(store, PairDraft("Who are you?", "I am Ember."), dataset="shop", split="val").uid
    async with drive() as app:
        await app.see("1 pair")
        await app.press("enter")
        await app.see_page("PairEditor")
        await app.type("Mine. ")
        pairs.edit(store, uid, answer="Theirs.")
        await app.press("ctrl+s")
        await app.see("changed while you edited it", "Keep both")
        await app.press("tab", "tab", "tab", "enter")
        await app.until(lambda: pairs.count(store) == 2)
    both = pairs.page(store, pairs.search_ids(store, dataset="shop", split="val"))
    assert sorted(pair.answer for pair in both) == ["Mine. I am Ember.", "Theirs."]
