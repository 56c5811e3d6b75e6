"""The registry of modes: one row gives a mode its keys, its place in the masthead, its help and its palette actions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.app import ComposeResult
from textual.css.query import NoMatches
from textual.widgets import Input, Static

from store.db import Store
from tests.tui.conftest import Drive
from tui import keys, modes, terminal_input
from tui.app import TuningforkApp
from tui.keys import Key, Page
from tui.modes import Mode
from tui.screens.base import ModeScreen, PageScreen
from tui.screens.data.welcome import WelcomeScreen

TOY_KEYS = (Key("toy.ring", "b", "ring", "Ring", "Ring the bell of the toy", bar=True),)


class ToyScreen(ModeScreen):
    """A mode's screen as small as one can be."""

    MODE = "toy"
    BINDINGS = keys.bindings(TOY_KEYS)

    def compose_body(self) -> ComposeResult:
        yield Static("This is the toy.")

    def action_ring(self) -> None:
        self.tuningfork.notify("Ding!")


@pytest.fixture
def toy() -> Iterator[Mode]:
    mode = Mode("toy", 9, "Play with a toy", "tests.tui.test_modes:ToyScreen", Page("Toy", (TOY_KEYS,)))
    modes.register(mode)
    yield mode
    modes.unregister("toy")


@pytest.mark.usefixtures("toy")
async def test_a_new_mode_opens_by_its_keys_and_by_click(drive: Drive, some_pairs: list[str]) -> None:
    async with drive(size=(100, 30)) as app:
        await app.see("F2 Data", "F3 Train", "F4 Compare", "F5 Export", "F9 Toy", "12 pairs")
        for key in ("f9", "alt+9"):
            await app.press(key)
            await app.see("This is the toy.", "b Ring")
            await app.press("b")
            await app.until(lambda: "Ding!" in app.notices)
            await app.press("f2")
            await app.see("12 pairs")
        await app.pilot.click("Masthead", offset=(app.text.splitlines()[0].index("Toy"), 0))
        await app.see("This is the toy.")


@pytest.mark.usefixtures("toy")
async def test_a_new_mode_is_in_help_and_palette(drive: Drive, some_pairs: list[str]) -> None:
    async with drive(size=(100, 110)) as app:
        await app.see("12 pairs")
        await app.press("f1")
        await app.see("Help: Data", "F9 Alt+9        Play with a toy")
        await app.press("escape", "f9", "question_mark")
        await app.see("Help: Toy", "b               Ring the bell of the toy", "F2 Alt+2        Pairs and datasets")
        await app.press("escape", "f2", "ctrl+p")
        await app.see_page("CommandPalette")
        await app.type("toy: ring")
        await app.see("Ring the bell of the toy  (b)")
        await app.press("enter")
        await app.see("This is the toy.")
        await app.until(lambda: "Ding!" in app.notices)


async def test_alt_and_a_digit_work_while_typing_and_type_nothing(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("slash")
        await app.type("la?mp2")
        assert app.app.screen.query_one("#search", Input).value == "la?mp2", "? types while a field has the focus"
        await app.press("alt+3")
        await app.until(lambda: app.app.current_mode == "train")
        await app.press("alt+2")
        await app.until(lambda: app.app.current_mode == "data")
        assert app.app.screen.query_one("#search", Input).value == "la?mp2"
        await app.press("alt+1")
        await app.see("Help: Data")


@pytest.mark.parametrize("sent", ["\x1b3", "\x1b[51;3u"])
def test_what_terminals_send_for_alt_and_a_digit_is_that_key(sent: str) -> None:
    terminal_input.read_alt_keys()
    (event,) = XTermParser().feed(sent)
    assert isinstance(event, events.Key)
    assert (event.key, event.is_printable) == ("alt+3", False)


def test_names_and_numbers_are_taken_once(toy: Mode) -> None:
    assert toy in modes.registered()
    for name, number in (("toy", 7), ("other", 6), ("data", 9), ("other", 2)):
        with pytest.raises(ValueError, match="is registered already"):
            modes.register(Mode(name, number, "", "", Page("")))


def test_every_mode_has_a_screen_of_its_name_and_a_page_of_help() -> None:
    from tui.screens.dialogs.help import text

    for mode in modes.registered():
        assert getattr(mode.make(), "MODE", None) == mode.name
        assert len(text(mode.name)) > 100


@pytest.mark.parametrize("name", ["welcome", *(mode.name for mode in modes.registered())])
async def test_a_screen_may_be_left_while_it_is_being_built(store: Store, name: str) -> None:
    """At any moment of it: quitting fails nowhere, and a screen that is closed leaves the app as it was."""
    made: dict[str, Callable[[], PageScreen[Any]]] = {mode.name: mode.make for mode in modes.registered()}
    for moment in (*range(6), 18, 19):  # the first are before its widgets are there, the last before they are built
        app = TuningforkApp(store)
        async with app.run_test():
            screen = made.get(name, WelcomeScreen)()
            app.push_screen(screen)
            for _ in range(moment):
                await asyncio.sleep(0)
            assert screen.active_bindings  # what a notice or a key that comes now would ask for
            if moment % 2:
                app.exit(0)
            else:
                await screen.dismiss(None)
        assert app.return_code in (0, None), moment


async def test_a_widget_that_a_screen_in_use_lacks_is_still_an_error(drive: Drive) -> None:
    with pytest.raises(NoMatches):
        async with drive() as app:
            app.app.call_later(app.app.screen.query_one, "#nowhere")
            await app.until(lambda: not app.app.is_running)
