"""Compare under test: a base beside a tuned model, and a scripted server behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.tui.scripted import ScriptedClient, by_model
from tui.screens.compare.prompt import PromptArea
from tui.screens.compare.screen import CompareScreen

if TYPE_CHECKING:
    from tests.tui.conftest import Drive, Driver

BASE, TUNED = "smollm2-135m", "run:ember-1"
WORDS = {BASE: ["I am ", "a base ", "model."], TUNED: ["I am ", "Ember, ", "made by ", "Northwind Labs."]}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    made = ScriptedClient(by_model(WORDS))  # type: ignore[arg-type]
    monkeypatch.setattr("engine.inference.client.Client.connect", made.connect)
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "compare")
    return made


@pytest.fixture
def comparing(drive: Drive, client: ScriptedClient) -> Any:
    """Compare with the base beside a tuned model, the prompt in focus."""

    @asynccontextmanager
    async def opened(size: tuple[int, int] = (120, 36), *models: str) -> AsyncIterator[Driver]:
        async with drive(size=size) as app:
            await app.see_page("CompareScreen")
            await screen(app).open_with(*(models or (BASE, TUNED)))
            await app.pilot.pause()
            yield app

    return opened


def screen(app: Driver) -> CompareScreen:
    assert isinstance(app.app.screen, CompareScreen)
    return app.app.screen


async def ask(app: Driver, text: str) -> None:
    """Write a prompt and send it; the letters themselves are pressed in a test of their own."""
    prompt = screen(app).query_one(PromptArea)
    prompt.insert(text)
    prompt.action_send()
    await app.pilot.pause()


async def answered(app: Driver) -> None:
    await app.until(lambda: not screen(app).comparison.busy)
    await app.pilot.pause(0.15)
