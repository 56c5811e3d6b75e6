"""Keys and pastes at random, as a terminal sends them: what was typed and pasted is there, whole and in order, and
only Enter sends. The seed is in the test's name; what a run of it did is in the failure."""

from __future__ import annotations

import random
from typing import Any

import pytest
from textual.widgets import TextArea

from store.db import Store
from tests.seeds import seeds
from tests.tui.comparing import answered, screen
from tests.tui.conftest import Drive, Driver
from tests.tui.pastes import PIECES
from tests.tui.scripted import ScriptedClient
from tui.paste import plain
from tui.screens.compare.prompt import PromptArea
from tui.terminal_input import TerminalParser, read_alt_keys

pytestmark = [pytest.mark.slow, pytest.mark.fuzz]
SIZES = [(80, 24), (120, 40), (200, 50)]
STEPS = 60
TYPED = "abqnxu1+?/ 大é"


class Terminal:
    """Sends to the app what a terminal would, in pieces of any length, and remembers it."""

    def __init__(self, app: Driver, chance: random.Random) -> None:
        self._app, self._chance = app, chance
        self._parser = TerminalParser()
        self.sent: list[str] = []

    async def send(self, data: str) -> None:
        self.sent.append(data)
        while data:
            cut = len(data) if self._chance.random() < 0.5 else self._chance.randint(1, len(data))
            piece, data = data[:cut], data[cut:]
            for event in self._parser.feed(piece):
                self._app.app.post_message(event)
        await self._app.idle()

    async def paste(self) -> str:
        """Paste something; the text that it is."""
        text = "".join(self._chance.choices(PIECES, k=self._chance.randint(1, 12)))
        await self.send(f"\x1b[200~{text}\x1b[201~")
        return plain(text)

    async def type(self) -> str:
        """Type a few letters and signs, each sent whole."""
        text = "".join(self._chance.choices(TYPED, k=self._chance.randint(1, 6)))
        for letter in text:
            self.sent.append(letter)
            for event in self._parser.feed(letter):
                self._app.app.post_message(event)
        await self._app.idle()
        return text

    async def new_line(self) -> str:
        """A new line by one of the keys that are for it."""
        key = self._chance.choice(["\n", "\x1b\r", "\x1b[13;2u"])
        self.sent.append(key)
        for event in self._parser.feed(key):
            self._app.app.post_message(event)
        await self._app.idle()
        return "\n"


def asked(client: ScriptedClient) -> list[str]:
    """The prompts that the first lane was sent, in order."""
    return [messages[-1]["content"] for _, messages, _ in client.asked[::2]]


@pytest.mark.parametrize("seed", seeds(3))
async def test_only_enter_sends_and_nothing_that_was_typed_or_pasted_is_lost(
    comparing: Any, client: ScriptedClient, seed: int
) -> None:
    read_alt_keys()
    chance = random.Random(seed)
    async with comparing(SIZES[seed % 3]) as app:
        terminal, expected, sent = Terminal(app, chance), "", list[str]()
        prompt = screen(app).query_one(PromptArea)
        try:
            for _ in range(STEPS):
                act = chance.random()
                if act < 0.12:
                    await terminal.send("\r")
                    if expected.strip():
                        sent.append(expected)
                        expected = ""
                        await answered(app)
                else:
                    doing = terminal.paste if act < 0.5 else terminal.new_line if act < 0.6 else terminal.type
                    expected += await doing()
                assert app.page == "CompareScreen" and app.app.screen.focused is prompt
                assert prompt.text == expected
                assert [text.strip() for text in asked(client)] == [text.strip() for text in sent]
        except BaseException:
            print("sent:", terminal.sent)
            raise


@pytest.mark.parametrize("seed", seeds(3))
async def test_a_pair_that_was_typed_and_pasted_is_kept_when_its_editor_is_left(
    drive: Drive, store: Store, some_pairs: list[str], seed: int
) -> None:
    read_alt_keys()
    chance, expected = random.Random(1_000_003 * (seed + 1)), {"question": "", "answer": ""}
    async with drive(SIZES[seed % 3]) as app:
        await app.see("12 pairs")
        terminal = Terminal(app, chance)
        try:
            for _ in range(3):
                await app.press("n")
                await app.see_page("PairEditor")
                for name in expected:
                    field = app.app.screen.query_one(f"#{name}", TextArea)
                    assert field.text == expected[name], "what was left here is here again"
                    field.focus()
                    field.move_cursor(field.document.end)
                    for _ in range(STEPS // 10):
                        expected[name] += await (terminal.paste if chance.random() < 0.6 else terminal.type)()
                        assert app.page == "PairEditor" and field.text == expected[name]
                await terminal.send(chance.choice(["\x1b[27u", "\x1bOR", "\x1b3"]))
                await app.until(lambda: app.page != "PairEditor")
                await app.press("f2")
                if app.page == "PairEditor":  # another mode was shown, and the editor waits below
                    await app.press("escape")
                await app.see_page("DataScreen")
        except BaseException:
            print("sent:", terminal.sent)
            raise
