"""Duplicate review: groups and what differs in them, each decision and its undo, the share; and more like this."""

from __future__ import annotations

import pytest

from store import datasets, edits, pairs, review
from store.db import Store
from store.errors import NotFound
from store.records import PairDraft
from tests.tui.conftest import Drive, Driver

SIZES = [(80, 24), (140, 40)]
CHANGE = "Open the orders page, choose the parcel, and press Change. That is all."
NEAR = "Please tell me in a few words how I can change the address of my parcel"


@pytest.fixture
def copies(store: Store, some_pairs: list[str]) -> list[str]:
    """Uids of three pairs with the same text, then of two near ones, all in `dup`."""
    drafts = [
        PairDraft("Where is it?", "In the box.", tags=("a",)),
        PairDraft("where is it", "in the box", tags=("b",)),
        PairDraft("WHERE IS IT?", "In the box!"),
        PairDraft(NEAR, CHANGE),
        PairDraft(f"{NEAR} now", CHANGE),
    ]
    uids = [pairs.create(store, draft, dataset="dup").uid for draft in drafts]
    datasets.add(store, "more", uids[1:2], "test")
    return uids


async def open_review(app: Driver, dataset: str = "dup") -> None:
    await app.see("pairs")
    await app.press("D")
    await app.see("List which pairs?")
    await app.type(dataset)
    await app.press("enter")
    await app.until(lambda: app.page == "DataScreen")
    await app.until(lambda: app.app.screen.query_now.dataset == dataset)  # type: ignore[attr-defined]
    await app.press("alt+d")
    await app.see_page("DuplicateReview")


def live(store: Store, dataset: str = "dup") -> list[str]:
    return [pair.uid for pair, _ in datasets.members(store, dataset)]


@pytest.mark.parametrize("size", SIZES)
async def test_groups_and_what_differs_in_them(drive: Drive, copies: list[str], size: tuple[int, int]) -> None:
    async with drive(size=size) as app:
        await open_review(app)
        await app.see(
            "dup: 1 group with the same text, 1 near (t: 0.80) · 5 pairs", "=    3  1.00  Where is it?", "≈    2"
        )
        wide = size[0] > 110
        await app.until(lambda: ("In the box." in app.text) == wide)
        await app.press("down", "enter")
        await app.see("first  ✓", f"uid {copies[3]}", CHANGE[:40])
        assert ("≈    2" in app.text) == wide, "one pane at a time in a narrow window"
        await app.press("down")
        await app.see(f"uid {copies[4]}", "parcel now")
        await app.press("escape")
        await app.see("≈    2")
        assert app.page == "DuplicateReview"
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")


@pytest.mark.parametrize("size", SIZES)
async def test_one_is_kept_and_undo_brings_the_others_back(
    drive: Drive, store: Store, copies: list[str], size: tuple[int, int]
) -> None:
    async with drive(size=size) as app:
        await open_review(app)
        await app.see("=    3")
        await app.press("enter", "down", "w")
        await app.until(lambda: live(store) == copies[1:2] + copies[3:])
        await app.see(f"uid {copies[3]}")
        await app.until(lambda: any(f"Kept {copies[1]}; 2 pairs deleted" in notice for notice in app.notices))
        await app.press("u")
        await app.until(lambda: live(store) == copies)
        await app.see(f"uid {copies[0]}")


async def test_pairs_in_another_dataset_are_only_taken_out(drive: Drive, store: Store, copies: list[str]) -> None:
    async with drive() as app:
        await open_review(app)
        await app.see("=    3")
        await app.press("w")
        await app.until(lambda: live(store) == [copies[0], *copies[3:]])
        assert live(store, "more") == [copies[1]]
        await app.until(lambda: any("1 pair deleted, 1 only taken out of dup" in notice for notice in app.notices))


async def test_merging_unites_tags_and_datasets_as_one_edit(drive: Drive, store: Store, copies: list[str]) -> None:
    before = len(edits.undoable(store))
    async with drive() as app:
        await open_review(app)
        await app.see("=    3")
        await app.press("plus")
        await app.until(lambda: live(store) == [copies[0], *copies[3:]])
        assert pairs.get(store, copies[0]).tags == ("a", "b") and live(store, "more") == [copies[0]]
        await app.until(lambda: any("with #b, more; 2 pairs deleted" in notice for notice in app.notices))
        assert len(edits.undoable(store)) == before + 1
        await app.press("u")
        await app.until(lambda: live(store) == copies)
        assert pairs.get(store, copies[0]).tags == ("a",) and live(store, "more") == [copies[1]]


async def test_what_is_no_duplicate_is_remembered_and_undone(drive: Drive, store: Store, copies: list[str]) -> None:
    def apart() -> set[str]:
        return {uid for couple in review.apart(store) for uid in couple}

    async with drive() as app:
        await open_review(app)
        await app.see("=    3")
        await app.press("enter", "down", "z")
        await app.until(lambda: len(review.apart(store)) == 2 and apart() == set(copies[:3]))
        await app.press("escape")
        await app.see("=    2  1.00")
        await app.press("n", "Z")
        await app.until(lambda: apart() == set(copies))
        await app.press("w")
        await app.see("There are no pairs that share 0.80 of their text in dup.")
        await app.until(lambda: len(live(store)) == 4)
        await app.press("u")
        await app.until(lambda: live(store) == copies)
        assert len(review.apart(store)) == 3, "the newest decision is undone first"
        await app.press("u")
        await app.until(lambda: len(review.apart(store)) == 2)
        await app.press("u")
        await app.until(lambda: not review.apart(store))
        await app.see("=    3", "≈    2")


async def test_a_pair_that_changed_meanwhile_stops_the_decision(drive: Drive, store: Store, copies: list[str]) -> None:
    async with drive() as app:
        await open_review(app)
        await app.see("=    3")
        pairs.edit(store, copies[2], answer="Somewhere else.")
        await app.press("w")
        await app.until(lambda: any("was changed or deleted meanwhile" in notice for notice in app.notices))
        await app.see("=    2")
        assert live(store) == copies


@pytest.mark.parametrize("size", SIZES)
async def test_the_share_is_chosen_with_its_histogram(drive: Drive, copies: list[str], size: tuple[int, int]) -> None:
    async with drive(size=size) as app:
        await open_review(app)
        await app.see("≈    2")
        await app.press("t")
        await app.see(
            "Share of common text", "0.80       2       5  ████", "1.00       1       3  ████", "the same text only"
        )
        await app.press("end", "enter")
        await app.see("dup: 1 group with the same text (t: only those) · 3 pairs")
        assert "≈" not in app.text
        await app.press("t", "escape")
        await app.until(lambda: app.page == "DuplicateReview")


async def test_a_duplicate_of_the_problems_opens_its_group(drive: Drive, store: Store, copies: list[str]) -> None:
    twins = [pairs.create(store, PairDraft("Twin?", answer), dataset="dup").uid for answer in ("Yes.", "yes")]
    async with drive(size=(140, 40)) as app:
        await open_review(app)
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")
        await app.press("L")
        await app.see("· duplicate", "Enter reviews its group")
        await app.press("end")
        await app.see(f"uid {twins[1]}")
        await app.press("enter")
        await app.see_page("DuplicateReview")
        await app.see(f"uid {twins[0]}")
        await app.press("w")
        await app.until(lambda: twins[1] not in live(store))
        with pytest.raises(NotFound):
            pairs.get(store, twins[1])
        await app.press("escape")
        await app.until(lambda: app.page == "ProblemList")
        await app.press("e")
        await app.until(lambda: app.page == "PairEditor")


async def test_an_edited_pair_leaves_its_group(drive: Drive, store: Store, copies: list[str]) -> None:
    async with drive() as app:
        await open_review(app)
        await app.see("≈    2")
        await app.press("n", "e")
        await app.see_page("PairEditor")
        await app.type("Nothing like the other one at all, and longer. ")
        await app.press("ctrl+s")
        await app.until(lambda: app.page == "DuplicateReview" and "≈" not in app.text)
        await app.press("u")
        await app.see("≈    2")


async def test_a_dataset_without_duplicates(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await open_review(app, "care")
        await app.see("There are no pairs that share 0.80 of their text in care.", "choose another share")
        await app.press("w", "z", "n", "e", "u", "escape")
        await app.until(lambda: app.page == "DataScreen")


@pytest.mark.parametrize("size", SIZES)
async def test_more_like_this(drive: Drive, store: Store, copies: list[str], size: tuple[int, int]) -> None:
    async with drive(size=size) as app:
        await app.see("17 pairs")
        await app.press("A")
        await app.see_page("AlikePairs")
        await app.see("most like: Please tell me", "0.96  ✓ Please tell me", f"uid {copies[3]}")
        await app.press("e")
        await app.until(lambda: app.page == "PairEditor")
        await app.press("escape")
        await app.until(lambda: app.page == "AlikePairs")
        await app.press("escape")
        await app.until(lambda: app.page == "DataScreen")


async def test_a_pair_that_is_like_no_other(drive: Drive, store: Store) -> None:
    pairs.create(store, PairDraft("Alone?", "Alone."))
    async with drive() as app:
        await app.see("1 pair")
        await app.press("A")
        await app.see("No other pair shares a word with it.")
        await app.press("e", "escape")
        await app.until(lambda: app.page == "DataScreen")


async def test_a_long_group_lists_its_first_pairs(
    drive: Drive, store: Store, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.screens.data import duplicate_review

    monkeypatch.setattr(duplicate_review, "_SHOWN", 2)
    async with drive() as app:
        await open_review(app)
        await app.see("=    3")
        await app.press("enter")
        await app.see("… and 1 more, which are decided on with these")
        await app.press("down", "down", "down", "w")
        await app.until(lambda: len(live(store)) == 3)
        assert live(store)[0] in copies[:2], "the cursor never leaves the pairs that are listed"
