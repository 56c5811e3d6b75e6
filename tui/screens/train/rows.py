"""Shows rows exactly as a model reads them in training, with the trained parts highlighted.
Draws what a preflight found; checks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from tui import formatting
from tui.screens.dialogs.base import Dialog, button
from tui.text import clean

if TYPE_CHECKING:
    from engine.training.preflight import Preflight

_TRAINED = "bold underline $success"


class Rows(Dialog[None]):
    """A few rows of a preflight."""

    CSS_PATH = "rows.tcss"

    def __init__(self, found: Preflight) -> None:
        super().__init__("What the model learns")
        self._found = found

    def compose_body(self) -> ComposeResult:
        found = self._found
        rows = formatting.count(found.rows, "row")
        head = f"{rows}; {found.trained_tokens:,} of {found.tokens:,} tokens are trained. "
        tail = " is what it learns to write; it only reads the rest."
        yield Static(Content.assemble(head, ("This style", _TRAINED), tail))
        with VerticalScroll():
            for n, sample in enumerate(found.samples):
                text = Content.assemble(
                    *((clean(piece), _TRAINED if trained else "$faint") for piece, trained in sample)
                )
                yield Static(Content.styled(f"row {n + 1}", "bold") + "\n" + text, classes="row")

    def compose_buttons(self) -> ComposeResult:
        yield button("Close", "close", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(VerticalScroll).focus()

    def on_button_pressed(self, _: Button.Pressed) -> None:
        self.dismiss(None)
