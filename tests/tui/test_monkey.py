"""Keys at random, anywhere in the app and while models answer: nothing ends it, and Compare shows what is.
The seed is in the test's name; what a run of it pressed is in the failure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.inference.client import Delta, Done
from engine.training import run_control
from store.db import Store
from store.errors import ServerError
from tests.seeds import seeds
from tests.tui.comparing import WORDS, tokens_of
from tests.tui.conftest import Drive, Driver
from tests.tui.fake_exports import a_run, an_export, install, planned
from tests.tui.pastes import PIECES
from tests.tui.scripted import ScriptedClient, by_model
from tui import modes
from tui.screens.compare import rendering as view
from tui.screens.compare.lane_panel import LanePanel
from tui.screens.compare.prompt import PromptArea
from tui.screens.compare.screen import CompareScreen
from tui.terminal_input import TerminalParser
from tui.widgets.flow import Flow

pytestmark = pytest.mark.slow
PRESSES = 150
SIZES = [(80, 24), (200, 50), (50, 15)]
LEAVE = {"ctrl+q", "f10"}
EVERYWHERE = ["escape", "enter", "tab", "up", "down", "left", "right", "space", "a", "home", "end", "f2", "f3", "f5"]


class SlowClient(ScriptedClient):
    """Words come one by one, so that keys meet them half-way."""

    async def stream(self, *args: Any, **how: Any) -> AsyncIterator[Delta | Done]:
        async for piece in super().stream(*args, **how):
            await asyncio.sleep(0.004)
            yield piece


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> SlowClient:
    made = SlowClient(by_model(WORDS))  # type: ignore[arg-type]
    made.check = ServerError("This server proves nothing.")
    made.compared = tokens_of()
    monkeypatch.setattr("engine.inference.client.Client.connect", made.connect)
    return made


def keys_of(page: str) -> list[str]:
    """The keys that a screen offers."""
    offered = modes.pages().get(page)
    groups = offered.acts + offered.moves if offered else ()
    return [key for group in groups for each in group for key in each.keys.split(",") if key not in LEAVE]


def lanes_show_what_is(app: Driver) -> None:
    screen = app.app.screen
    assert isinstance(screen, CompareScreen)
    talk = screen.comparison
    assert screen.page.front < len(talk.lanes) == len(screen.query(LanePanel))
    for panel in screen.query(LanePanel):
        if panel.display and panel.lane.size and talk.turns:
            shown = panel.lane.plain_text()
            answer = list(talk.shown(len(talk.turns) - 1))[panel.position][1]
            prompt = Flow(0, talk.turns[-1].prompt).text  # tabs are drawn as spaces
            assert prompt in shown and answer.text.strip() in shown
            assert view.lane_at(talk, panel.position).name in talk.lanes


@pytest.mark.parametrize("seed", seeds(4))
async def test_random_keys_end_nothing(
    drive: Drive, store: Store, client: SlowClient, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    install(monkeypatch)
    monkeypatch.setattr(run_control, "start", lambda *_: None)
    monkeypatch.setattr("tui.screens.train.report.launch", lambda store, *_: a_run(store, f"ember-{len(pressed)}"))
    run = a_run(store)
    an_export(store, planned(store, run.name), run.name)
    chance, pressed, sent = random.Random(seed), list[str](), list[str]()
    send = PromptArea.action_send
    monkeypatch.setattr(PromptArea, "action_send", lambda self: (sent.append(pressed[-1]), send(self)))
    try:
        async with drive(size=SIZES[seed % len(SIZES)]) as app:
            await app.press("f4")
            await app.see_page("CompareScreen")
            for n in range(PRESSES):
                screen = app.app.screen
                act = chance.random()
                if act < 0.06 and isinstance(screen, CompareScreen):
                    pressed.append("<ask>")
                    prompt = screen.query_one(PromptArea)
                    prompt.fill(f"Question {n}?")
                    prompt.action_send()
                elif act < 0.09:
                    width, height = chance.choice(SIZES)
                    pressed.append(f"<{width}x{height}>")
                    await app.pilot.resize_terminal(width, height)
                elif act < 0.14:
                    pressed.append("<paste>")
                    for event in TerminalParser().feed(f"\x1b[200~{''.join(chance.choices(PIECES, k=9))}\x1b[201~"):
                        app.app.post_message(event)
                    await app.idle()
                elif act < 0.27:
                    pressed.append("f4")
                    await app.press("f4")
                else:
                    offered = keys_of(getattr(screen, "PAGE", "")) if act < 0.8 else []
                    pressed.append(chance.choice(offered or EVERYWHERE))
                    await app.press(pressed[-1])
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() * 0.02)
                if n % 15 == 14 and isinstance(app.app.screen, CompareScreen):
                    talk = app.app.screen.comparison
                    await app.until(lambda talk=talk: not talk.busy)
                    await app.pilot.pause(0.25)
                    if isinstance(app.app.screen, CompareScreen):
                        lanes_show_what_is(app)
            assert app.app.is_running
            assert set(sent) <= {"<ask>", "enter"}, "nothing else sends a prompt"
    except BaseException:
        print("pressed:", " ".join(pressed))
        raise
