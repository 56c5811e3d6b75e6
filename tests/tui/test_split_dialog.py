"""The split dialog shows what it will do, and does what it shows."""

from __future__ import annotations

from store import datasets, pairs
from store.db import Store
from store.records import PairDraft
from tests.store.test_split_plans import question
from tests.tui.conftest import Drive


async def test_a_split_is_shown_before_it_is_done(drive: Drive, store: Store) -> None:
    drafts = [PairDraft(question(n), "A", kind="identity" if n < 10 else "instruction") for n in range(40)]
    pairs.create_many(store, drafts, dataset="d")
    async with drive() as app:
        await app.press("D", "down", "enter")
        await app.see("40 pairs")
        await app.press("percent_sign")
        await app.see("Split d", "to move.")
        app.app.screen.query_one("#val").focus()
        await app.press("end", "backspace", "backspace", "backspace")
        await app.type("80")
        await app.see("leave nothing to train on")
        await app.press("end", "backspace", "tab", "tab", "right")
        await app.see("32 train, 8 val", "identity: 8 train, 2 val")
        assert datasets.get(store, "d").val == 0
        await app.press("shift+tab", "enter")
        await app.until(lambda: datasets.get(store, "d").val == 8)
        await app.press("u")
        await app.until(lambda: datasets.get(store, "d").val == 0)
