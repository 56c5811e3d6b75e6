"""Shows a message that is too long, or too important, for a notice in the last line.
One button; it asks nothing."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Button

from tui.screens.dialogs.base import Dialog, button, text


class Notice(Dialog[None]):
    """Closes with Enter or Escape."""

    def __init__(self, title: str, body: str, remark: str = "") -> None:
        super().__init__(title)
        self._body, self._remark = body, remark

    def compose_body(self) -> ComposeResult:
        yield text(self._body)
        if self._remark:
            yield text(self._remark, "hint")

    def compose_buttons(self) -> ComposeResult:
        yield button("Close", "close", "primary")

    def on_button_pressed(self, _: Button.Pressed) -> None:
        self.dismiss(None)
