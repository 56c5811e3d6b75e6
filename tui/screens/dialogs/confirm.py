"""Asks before something that is hard to undo. It names the object and the count, and its focus is on Cancel unless
nothing can be lost."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Button

from tui.screens.dialogs.base import Dialog, button, text


class Confirm(Dialog[bool]):
    """True when the button called `verb` was pressed; False or None otherwise."""

    def __init__(self, title: str, body: str, verb: str, *, cancel: str = "Cancel", harmless: bool = False) -> None:
        super().__init__(title)
        self._body, self._verb, self._cancel = body, verb, cancel
        self.harmless = harmless

    def compose_body(self) -> ComposeResult:
        yield text(self._body)

    def compose_buttons(self) -> ComposeResult:
        yield button(self._cancel, "cancel")
        yield button(self._verb, "go", "primary" if self.harmless else "error")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#go" if self.harmless else "#cancel").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "go")
