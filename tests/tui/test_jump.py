"""Jump mode: everything in view that can have the focus has a label, and typing one goes there."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from textual._context import visible_screen_stack
from textual.geometry import Region, Size
from textual.widget import Widget

from store import search
from store.db import Store
from tests.tui.comparing import answered, ask
from tests.tui.conftest import Drive, Driver
from tests.tui.scripted import ScriptedClient
from tui import themes
from tui.screens.compare.prompt import PromptArea
from tui.screens.dialogs.jump import JumpScreen, in_view, labels, placed

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])


def on_screen(app: Driver) -> str:
    """All that is seen, what is under the labels included."""
    visible_screen_stack.set(app.app._background_screens)
    return "\n".join(strip.text for strip in app.app.screen._compositor.render_strips(app.app.size))


async def jump(app: Driver) -> dict[Widget, str]:
    """Press the key; the label of each widget, all of them drawn."""
    wanted = [widget for widget, _ in in_view(app.app.screen)]
    await app.press("ctrl+l")
    await app.see_page("JumpScreen")
    screen = app.app.screen
    assert isinstance(screen, JumpScreen)
    shown = {label: widget for label, widget in screen._targets.items() if f" {label} " in on_screen(app)}
    assert list(shown.values()) == wanted and "JUMP" in app.text and "Esc Leave" in app.text
    return {widget: label for label, widget in shown.items()}


@SIZES
async def test_every_field_list_and_button_in_view_is_reached(
    drive: Drive, some_pairs: list[str], size: tuple[int, int]
) -> None:
    async with drive(size=size) as app:
        await app.see("12 pairs")
        for keys, page in (((), "DataScreen"), (("n",), "PairEditor"), (("escape", "f3"), "TrainScreen")):
            await app.press(*keys)
            await app.see_page(page)
            for widget in [widget for widget, _ in in_view(app.app.screen) if widget.id != "form-start"]:
                found = await jump(app)
                await app.press(*found[widget])
                await app.see_page(page)
                assert app.app.screen.focused is widget


@SIZES
async def test_a_label_of_a_button_presses_it(
    drive: Drive, store: Store, some_pairs: list[str], size: tuple[int, int]
) -> None:
    async with drive(size=size) as app:
        await app.see("12 pairs")
        await app.press("a", "delete")
        await app.see("Delete 12 marked pairs")
        found = {widget.id: label for widget, label in (await jump(app)).items()}
        await app.press(*found["go"])
        await app.see_page("DataScreen")
        await app.until(lambda: not search.count(store))


@SIZES
async def test_a_lane_is_reached_from_the_prompt_and_nothing_is_typed(
    comparing: Any, client: ScriptedClient, size: tuple[int, int]
) -> None:
    async with comparing(size) as app:
        await ask(app, "Hi")
        await answered(app)
        prompt = app.app.screen.query_one(PromptArea)
        await app.type("unsent")
        found = await jump(app)
        await app.press("1", "backspace", "escape")
        await app.see_page("CompareScreen")
        assert prompt.text == "unsent" and app.app.screen.focused is prompt
        lanes = [widget for widget in found if (widget.id or "").startswith("lane-")]
        for lane in reversed(lanes):
            found = await jump(app)
            await app.press(*found[lane])
            await app.until(lambda lane=lane: app.app.screen.focused is lane and "LANES" in app.text)
            assert app.app.screen.page.position == int((lane.id or "")[-1])
        assert len(lanes) == (1 if size[0] < 110 else 2) and prompt.text == "unsent"


async def test_the_key_and_a_new_size_end_it_and_the_palette_has_none(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        for leave in ("key", "size"):
            await jump(app)
            if leave == "key":
                await app.press("alt+l")
            else:
                await app.pilot.resize_terminal(100, 30)
            await app.see_page("DataScreen")
        await app.press("ctrl+p")
        await app.see_page("CommandPalette")
        await app.press("ctrl+l")
        assert app.page == "CommandPalette"
        await app.type("jump")
        await app.see("Label all fields")
        await app.press("enter")
        await app.see_page("JumpScreen")


@pytest.mark.parametrize("colours", ["none", "sixteen"])
async def test_labels_are_seen_without_colour(
    drive: Drive, some_pairs: list[str], monkeypatch: pytest.MonkeyPatch, colours: str
) -> None:
    if colours == "none":
        monkeypatch.setenv("NO_COLOR", "1")
    async with drive() as app:
        if colours == "sixteen":
            app.app.theme = themes.SIXTEEN.name
        await app.see("12 pairs")
        await jump(app)
        assert "12 pairs" in on_screen(app), "what is labelled is still to be seen"
        label = app.app.screen.query(".jump-label").first()
        style = label.rich_style
        assert style.color != style.bgcolor and style.bgcolor != app.app.screen.rich_style.bgcolor


@pytest.mark.parametrize("count", [0, 1, 26, 27, 60, 676])
def test_labels_are_short_and_none_begins_another(count: int) -> None:
    made = labels(count)
    assert len(made) == len(set(made)) == count
    assert max(map(len, made), default=0) <= (1 if count <= 26 else 2)
    assert not any(after.startswith(before) for before, after in pairwise(sorted(made)))


def test_labels_at_one_place_stand_side_by_side_within_the_window() -> None:
    spots = placed([Region(0, 0, 80, 24), Region(0, 0, 80, 1), Region(79, 3, 1, 1)], ["a", "sd", "f"], Size(80, 24))
    assert spots == [Region(0, 0, 3, 1), Region(3, 0, 4, 1), Region(77, 3, 3, 1)]


async def test_a_notice_hides_neither_what_jump_waits_for_nor_how_to_leave(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        app.app.notify("Saved.", timeout=600)
        await app.press("ctrl+l")
        await app.see("JUMP: type a label", "Saved.", "Esc Leave")
