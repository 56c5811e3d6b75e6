"""What all dialogs share: a titled box in the middle, Escape to cancel, arrows between buttons.
A dialog returns its answer to the screen that opened it."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from tui import keys
from tui.screens.base import ResultScreen
from tui.text import clean, one_line

Answer = TypeVar("Answer")


class Dialog(ResultScreen[Answer], ModalScreen[Answer]):
    """Base of the dialogs. `compose_body` and `compose_buttons` fill the box."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.BACK, keys.DIALOG)

    def __init__(self, title: str) -> None:
        super().__init__()
        self._heading = one_line(title, 76)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            with VerticalScroll(classes="body", can_focus=False):
                yield from self.compose_body()
            with Horizontal(classes="buttons"):
                yield from self.compose_buttons()

    def compose_body(self) -> ComposeResult:
        yield from ()

    def compose_buttons(self) -> ComposeResult:
        yield from ()

    def on_mount(self) -> None:
        self.query_one(".dialog").border_title = Content(self._heading)

    def on_resize(self) -> None:
        """Buttons that do not fit side by side stand one above the other."""
        self.call_after_refresh(self._fit_buttons)

    def _fit_buttons(self) -> None:
        row = self.query_one(".buttons")
        needed = sum(button.outer_size.width + button.styles.margin.width for button in row.query(Button))
        self.query_one(".dialog").set_class(needed > row.size.width, "-stacked")

    def action_scroll_body(self, pages: int) -> None:
        """Scroll a text that is longer than the window; the buttons stay in view."""
        body = self.query_one(".body", VerticalScroll)
        body.scroll_relative(y=pages * max(1, body.size.height - 1), animate=False, immediate=True)

    def back_word(self) -> str:
        """For the key bar of the page below."""
        return "Close"

    def action_back(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


def text(body: str, *classes: str) -> Static:
    """A paragraph of literal text."""
    return Static(Content(clean(body)), classes=" ".join(classes))


def button(label: str, id: str, variant: str = "default") -> Button:
    """A button with literal text."""
    return Button(Content(clean(label)), id=id, variant=variant, compact=True)  # type: ignore[arg-type]
