"""Asks for one line of text: a name, mostly.
Only checks that something was typed, where something must be; the caller knows what is allowed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Button, Input

from tui.screens.dialogs.base import Dialog, button, text
from tui.text import clean
from tui.widgets.in_order import Field


class Ask(Dialog[str]):
    """The text that was typed, without surrounding white space; None when it was cancelled. With `empty` no text is an
    answer, too; `most` is how many characters can be typed, 0 for any."""

    def __init__(
        self,
        title: str,
        label: str,
        value: str = "",
        *,
        verb: str = "OK",
        placeholder: str = "",
        empty: bool = False,
        most: int = 0,
    ) -> None:
        super().__init__(title)
        self._label, self._value, self._verb, self._placeholder = label, value, verb, placeholder
        self._empty, self._most = empty, most

    def compose_body(self) -> ComposeResult:
        yield text(self._label, "caption")
        yield Field(
            clean(self._value),
            placeholder=self._placeholder,
            compact=True,
            select_on_focus=not self._empty,
            max_length=self._most,
        )

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
        if value or self._empty:
            self.dismiss(value)
