"""Keys that come in a bunch, as over a slow link, act in the order typed in every kind of field."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.keys import _character_to_key
from textual.widget import Widget
from textual.widgets import Input, TextArea

from tests.tui.conftest import PATIENCE_S
from tui.screens.compare.prompt import PromptArea
from tui.screens.data.filter_bar import SearchField
from tui.widgets.in_order import Area, Field
from tui.widgets.prose import Prose

TYPED = ["x", "backspace", "a", "c", "left", "b", "end", "d", "backspace", "home", "delete", "A"]


class NoStore:
    """Stands in for the bridge: a field that completes what is typed finds nothing."""

    async def call(self, *_: object) -> None:
        return None


class Bare(App[None]):
    """One field and nothing else."""

    bridge = NoStore()

    def __init__(self, field: Widget) -> None:
        super().__init__()
        self.field = field

    def compose(self) -> ComposeResult:
        yield self.field

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"hairline": "#444444"}


FIELDS = {
    "prompt": PromptArea, "prose": lambda: Prose("Answer", id="answer"), "field": Field, "area": Area,
    "search": SearchField,
}  # fmt: skip


@pytest.mark.parametrize("make", FIELDS.values(), ids=FIELDS)
async def test_keys_of_a_bunch_act_in_the_order_typed(make: Callable[[], Input | TextArea]) -> None:
    field = make()
    app = Bare(field)
    async with app.run_test() as pilot:
        field.focus()
        await pilot.pause()
        for key in TYPED:
            char = key if len(key) == 1 else {"backspace": "\x7f"}.get(key)
            app.post_message(events.Key(key if len(key) > 1 else _character_to_key(key), char))
        typed, deadline = "", time.monotonic() + PATIENCE_S
        while typed != "Abc" and time.monotonic() < deadline:
            await pilot.pause(0.02)
            typed = field.value if isinstance(field, Input) else field.text
        assert typed == "Abc"
