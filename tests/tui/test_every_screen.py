"""What must be true of all screens: each can be opened for a look, and nothing in it is cut in a small window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual.widgets import Button, OptionList

from store import feedback, pairs
from store.db import Store
from store.records import FeedbackDraft, PairDraft, Turn
from tests.tui.conftest import Drive
from tests.tui.every_screen import WAYS, Way, opened, prepared, screens

SHOWN = [way for way in WAYS if way.name in {"rows", "conflict", "change", "probe-set", "chats", "evaluate", "taught"}]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    with prepared(tmp_path_factory.mktemp("screens")) as made:
        yield made


def test_each_can_be_opened() -> None:
    assert {way.screen for way in WAYS} == screens()
    assert len({way.name for way in WAYS}) == len(WAYS)


@pytest.mark.parametrize("way", SHOWN, ids=lambda way: way.name)
async def test_nothing_is_cut_or_wrapped_at_80_columns(homes: tuple[Store, Store], way: Way) -> None:
    async with opened(way, homes, (80, 24)) as app:
        for button in app.app.screen.query(Button):
            assert str(button.label) in app.text
        for options in app.app.screen.query(OptionList):
            assert options.virtual_size.height == options.option_count, options
        for body in app.app.screen.query(".dialog .body"):
            assert body.max_scroll_y == 0, "there is room for all of it"


async def test_the_settings_of_compare_show_their_hints_whole(homes: tuple[Store, Store]) -> None:
    async with opened(next(way for way in WAYS if way.name == "compare-settings"), homes, (80, 24)) as app:
        await app.see("0 always takes the likeliest word", "the same seed gives the same answer", "until the vote")


async def test_evaluations_are_named_at_once(homes: tuple[Store, Store]) -> None:
    async with opened(next(way for way in WAYS if way.name == "evaluate"), homes, (80, 24)) as app:
        await app.see("✓ 2 tuned cities", "✓ 1 base cities", "  tuned                0.800", "Token F1")


@pytest.mark.parametrize("key", ["L", "V", "A"])
async def test_rows_of_a_long_list_take_one_line_each(drive: Drive, store: Store, key: str) -> None:
    long = "Where is the parcel that I sent with the order of last week, and who has signed for it, if anyone has? "
    for n in range(40):
        pairs.create(store, PairDraft(f"{long}{n}", "It came back.<|im_end|>"), dataset="shop")
        feedback.add_feedback(store, [FeedbackDraft((Turn("user", f"{long}{n}"),), "No.", False)], dataset="shop")
    async with drive(size=(80, 24)) as app:
        await app.see("40 pairs")
        app.app.screen.list_dataset("shop")  # type: ignore[attr-defined]
        await app.see("D shop")
        await app.press(key)
        await app.until(lambda: app.page != "DataScreen" and app.app.screen.query_one(OptionList).option_count)
        options = app.app.screen.query_one(OptionList)
        await app.until(lambda: options.virtual_size.height)
        assert options.virtual_size.height == options.option_count >= 20


async def test_an_empty_train_offers_no_start(drive: Drive, store: Store) -> None:
    async with drive(size=(80, 24)) as app:
        await app.see_page("WelcomeScreen")
        await app.press("f3")
        await app.see("There is nothing to train on yet.", "n New run")
        assert "^S Start" not in app.text
