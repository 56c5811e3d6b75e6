"""Asks for one line of text: a name, mostly.
Only checks that something was typed; the caller knows what is allowed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Button, Input

from tui.screens.dialogs.base import Dialog, button, text
from tui.text import clean
from tui.widgets.in_order import Field


class Ask(Dialog[str]):
    """The text that was typed, without surrounding white space; None when it was cancelled."""

    def __init__(self, title: str, label: str, value: str = "", *, verb: str = "OK", placeholder: str = "") -> None:
        super().__init__(title)
        self._label, self._value, self._verb, self._placeholder = label, value, verb, placeholder

    def compose_body(self) -> ComposeResult:
        yield text(self._label)
        yield Field(clean(self._value), placeholder=self._placeholder, compact=True, select_on_focus=True)

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button(self._verb, "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Input).focus()

    def on_input_submitted(self) -> None:
        self._answer()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self._answer()
        else:
            self.dismiss(None)

    def _answer(self) -> None:
        value = self.query_one(Input).value.strip()
        if value:
            self.dismiss(value)
