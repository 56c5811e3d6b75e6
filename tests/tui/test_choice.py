"""A choice on one line: it fits its cells, whatever its values are called."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from tui.widgets.choice import Choice

LONG = "a-very-long-name-of-a-dataset-that-does-not-fit"


@pytest.mark.parametrize(
    ("width", "label", "shown"),
    [
        (24, "short", " Data ‹ short ›"),
        (24, LONG, " Data ‹ a-very-long-… ›"),
        (24, "日本語のとても長い名前です", " Data ‹ 日本語のとて… ›"),
        (80, LONG, f" Data ‹ {LONG} ›"),
    ],
)
async def test_a_long_label_is_cut_between_its_arrows(width: int, label: str, shown: str) -> None:
    class Form(App[None]):
        def compose(self) -> ComposeResult:
            yield Choice("Data", [("first", label), ("second", "other")])

        def on_mount(self) -> None:
            self.query_one(Choice).styles.width = width

    async with Form().run_test(size=(80, 3)) as pilot:
        (line, *_) = pilot.app.screen._compositor.render_strips(pilot.app.size)
        assert line.text.rstrip() == shown
        await pilot.press("tab", "right")
        assert pilot.app.screen.query_one(Choice).value == "second"
