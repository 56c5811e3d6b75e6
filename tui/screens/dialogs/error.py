"""Shows one error in full: what happened, where, and what to do next.
For errors that are too long for a notice in the last line."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Button

from store.errors import TuningforkError
from tui.screens.dialogs.base import Dialog, button, text


class ErrorDialog(Dialog[None]):
    """Closes with Enter or Escape."""

    def __init__(self, error: TuningforkError, title: str = "That did not work") -> None:
        super().__init__(title)
        self._error = error

    def compose_body(self) -> ComposeResult:
        yield text(_sentence(self._error.what))
        if self._error.where:
            yield text(self._error.where, "where")
        if self._error.todo:
            yield text(_sentence(self._error.todo), "todo")

    def compose_buttons(self) -> ComposeResult:
        yield button("Close", "close")

    def on_button_pressed(self, _: Button.Pressed) -> None:
        self.dismiss(None)


def _sentence(what: str) -> str:
    """`what` as a sentence of its own: a capital first; a full stop unless it ends with a command, a path or a sign."""
    head = what[:1].upper() + what[1:]
    return head if not head or not head[-1].isalpha() or ": " in head else head + "."
