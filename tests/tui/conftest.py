"""Drives the app as a user does: keys in, the text of the screen out.
Everything waits for a condition, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from textual import events
from textual.keys import _character_to_key, key_to_character
from textual.pilot import Pilot
from textual.widget import Widget

from store import datasets, pairs
from store.db import Store
from store.records import PairDraft
from tests.tui.comparing import client, comparing  # noqa: F401 - fixtures
from tui.app import TuningforkApp

PATIENCE_S = 60.0
"""How long to wait for what must come: far longer than it takes, as the machine may be busy with other work."""
Drive = Callable[..., AbstractAsyncContextManager["Driver"]]


class Driver:
    """An app under test."""

    def __init__(self, app: TuningforkApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def text(self) -> str:
        """What is on the screen, line by line."""
        return "\n".join(strip.text.rstrip() for strip in self.app.screen._compositor.render_strips(self.app.size))

    @property
    def page(self) -> str:
        """The class name of the screen that is shown."""
        return type(self.app.screen).__name__

    @property
    def notices(self) -> list[str]:
        """The notices of this session, oldest first."""
        return [str(notice.message) for notice in self.app._notifications]

    async def press(self, *keys: str) -> None:
        """Press keys, each when the one before was handled. What a key starts may still run: wait until it is seen."""
        for key in keys:
            self.app.post_message(events.Key(key, key_to_character(key)))
            await self.idle()

    async def type(self, text: str) -> None:
        """Type a text, character by character, into what has the focus."""
        for char in text:
            self.app.post_message(events.Key(_character_to_key(char), char))
        await self.idle()

    async def paste(self, text: str) -> None:
        """Paste a text."""
        self.app.post_message(events.Paste(text))
        await self.idle()

    async def idle(self) -> None:
        """Wait until no message waits to be handled. Much quicker than the pilot's own pause, which watches the CPU."""
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.001)
            widgets = [self.app.screen, *self.app.screen.walk_children(Widget)]
            still = all(each.is_mounted and each.message_queue_size == 0 for each in widgets)
            quiet = quiet + 1 if still and self.app.message_queue_size == 0 else 0

    async def until(self, condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Wait for a condition; on a timeout show the screen."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout_s} s; the screen:\n{self.text}\nnotices: {self.notices}")
            await asyncio.sleep(0.01)

    async def see(self, *texts: str) -> None:
        """Wait until all of these are on the screen."""

        def shown() -> bool:
            page = self.text
            return all(text in page for text in texts)

        await self.until(shown)

    async def see_page(self, name: str) -> None:
        """Wait for a screen by its class name."""
        await self.until(lambda: self.page == name and self.app.screen.is_mounted)
        await self.idle()


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours, SSH and themes as on a workstation, whatever runs the tests."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    for name in ("NO_COLOR", "COLORFGBG", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def drive(store: Store) -> Drive:
    """`async with drive(size=(80, 24)) as app:` opens the app on the test's store."""

    @asynccontextmanager
    async def opened(size: tuple[int, int] = (80, 24), on: Store | None = None) -> AsyncIterator[Driver]:
        app = TuningforkApp(on or store)
        async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
            await pilot.pause()
            yield Driver(app, pilot)

    return opened


@pytest.fixture
def some_pairs(store: Store) -> list[str]:
    return make_pairs(store)


def make_pairs(store: Store) -> list[str]:
    """Uids of twelve pairs, oldest first: three drafts, three rejected; all in `shop`, the first four in `care` too."""
    status = ["ready", "ready", "draft", "rejected"]
    things = ["order", "parcel", "refund", "lamp", "oven", "name", "bill", "door", "cat", "hat", "key", "cup"]
    drafts = [
        PairDraft(
            f"Question {n}: where is my {thing}?",
            f"Answer {n}: look under the {thing}.",
            status=status[n % 4],  # type: ignore[arg-type]
            kind="identity" if n == 5 else "instruction",
            tags=("tagged",) if n == 3 else (),
        )
        for n, thing in enumerate(things)
    ]
    made = pairs.create_many(store, drafts, dataset="shop")
    datasets.add(store, "care", made.uids[:4])
    return made.uids
