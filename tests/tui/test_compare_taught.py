"""Which pairs taught an answer of Compare: the list, the whole pair, opening it, leaving; with keys only."""

from __future__ import annotations

from typing import Any

import pytest

from engine.training import teachers
from engine.training.teachers import Teacher
from store import datasets, pairs
from store.db import Store
from store.records import PairDraft, SnapshotRow
from tests.tui.comparing import answered, ask


@pytest.fixture
def taught(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two pairs that taught, and what was asked."""
    drafts = [PairDraft("Who made you?", "Northwind Labs made me."), PairDraft("你是谁？", "我是 \x1b[31mEmber。")]
    pairs.create_many(store, drafts, dataset="mine")
    rows = datasets.snapshot_rows(store, datasets.freeze(store, "mine").hash)
    gone = SnapshotRow(9, "train", "instruction", rows[0].messages, "h", "0123456789abcdef")
    asked: list[Any] = []

    def found(store: Store, run: str, said: Any, on_progress: Any) -> list[Teacher]:
        asked.append((run, said))
        on_progress(1, 2)
        return [Teacher(rows[0], 0.91), Teacher(rows[1], 0.2), Teacher(gone, -0.1)]

    monkeypatch.setattr(teachers, "teachers", found)
    return asked


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_the_pairs_are_listed_and_opened(comparing: Any, taught: list[Any], size: tuple[int, int]) -> None:
    async with comparing(size) as app:
        await ask(app, "Who are you?")
        await answered(app)
        await app.press("escape", "right", "exclamation_mark")
        await app.see_page("TaughtView")
        await app.see("What taught ember-1", "0.910", "Who made you?", "likeness of gradients", "-0.100", "Enter Open")
        ((run, said),) = taught
        assert run == "ember-1" and [message["role"] for message in said] == ["user", "assistant"]
        assert said[-1]["content"] == "I am Ember, made by Northwind Labs."
        await app.press("down")
        await app.see("我是")
        assert "\x1b" not in app.text
        await app.press("enter")
        await app.see_page("PairEditor")
        await app.press("escape")
        await app.see_page("TaughtView")
        await app.press("down", "enter")
        await app.see("This pair was deleted since the run")
        await app.press("escape")
        await app.see_page("CompareScreen")


async def test_a_base_was_taught_by_no_pair(comparing: Any, taught: list[Any]) -> None:
    async with comparing() as app:
        await ask(app, "Who are you?")
        await answered(app)
        await app.press("escape", "exclamation_mark")
        await app.see("is no run")
        assert not taught
