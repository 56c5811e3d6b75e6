"""Compare under test: a base beside a tuned model, and a scripted server behind them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from engine.inference.token_comparison import Alternative, ComparedToken, TokenComparison
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
    """Wait until every answer is whole, drawn and saved."""

    def quiet() -> bool:
        shown = screen(app)
        return not (shown.comparison.busy or shown.page._redraws._changes or app.app.bridge.waiting)

    for _ in range(2):  # what ends an answer may start something else
        await app.until(quiet)
        await app.idle()


BA = "巴".encode()
PIECES = (b"I am", b" Ember", b", made by Northwind", b" ", BA[:2], BA[2:], b"\n", b"\x1b[31m", b".")
TUNED_P = (0.9, 0.8, 0.5, 0.5, 0.25, 0.5, 0.4, 0.001, 0.9)
BASE_P = (0.9, 0.0001, 0.02, 0.5, 0.5, 0.1, 0.1, 0.9, 0.9)


def tokens_of(pieces: Sequence[bytes] = PIECES, **changes: Any) -> TokenComparison:
    """Token n has the id 10 + n; ` Bolt` (90) and ` a` (91) could stand instead of each."""
    tokens = []
    for n, (piece, tuned, base) in enumerate(zip(pieces, TUNED_P, BASE_P, strict=False)):
        own = Alternative(10 + n, piece, math.log(tuned))
        others = Alternative(90, b" Bolt", math.log(0.05)), Alternative(91, b" a", math.log(0.31))
        tokens.append(
            ComparedToken(10 + n, piece, math.log(tuned), math.log(base), (own, others[0]), (others[1], others[0]))
        )
    fields = {"sampled": True, "dropped_turns": 0, "forkable": True, **changes}
    return TokenComparison(model=TUNED, base=BASE, backend="fake", prompt_tokens=20, tokens=tuple(tokens), **fields)
