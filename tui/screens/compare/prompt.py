"""Where a prompt is written: Enter sends, several lines are possible, the arrow up brings earlier prompts back.
Knows nothing of lanes; it posts what is to be sent."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.events import Paste
from textual.message import Message
from textual.widgets import TextArea

from engine.inference.limits import LONGEST_PROMPT
from store.errors import TuningforkError
from tui import external_editor, keys
from tui.services import services
from tui.text import clean
from tui.widgets.in_order import InOrder


class PromptArea(InOrder, TextArea):
    """A text area of one to eight lines."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PROMPT)
    DEFAULT_CSS = """
    PromptArea {
        height: auto;
        min-height: 1;
        max-height: 8;
        border: none;
        padding: 0 1;
        background: $panel;
        border-left: thick $hairline;
        &:focus { border: none; border-left: thick $accent; }
    }
    """

    class Sent(Message):
        """Enter was pressed on something."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class TooLong(Message):
        """A paste of so many characters was refused."""

        def __init__(self, characters: int) -> None:
            super().__init__()
            self.characters = characters

    def __init__(self, *, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(
            soft_wrap=True, show_line_numbers=False, placeholder=placeholder, id=id, highlight_cursor_line=False
        )
        for key in ("f6", "f7"):  # the base class selects text with them; here they belong to the screen
            self._bindings.key_to_bindings.pop(key, None)
        self._earlier: list[str] = []
        self._at: int | None = None
        """The place in the history that is shown; None while it is none of it."""
        self._changed: dict[int, str] = {}
        """Texts that were left while they were shown, by their place: one past the newest is what was being typed."""
        self.editing = False
        """True while the prompt that was sent last is being changed."""
        self._set_aside = ""  # what was typed before that

    def remember(self, text: str) -> None:
        """Keep a prompt for the arrow up."""
        if not self._earlier or self._earlier[-1] != text:
            self._earlier.append(text)
        self._at, self._changed = None, {}

    def fill(self, text: str) -> None:
        """Put a text in, the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    def begin_edit(self, text: str) -> None:
        """Change a prompt that was sent; what is typed here is set aside until `end_edit`."""
        if not self.editing:
            self._set_aside = self.text
        self.editing = True
        self.fill(text)

    def end_edit(self) -> None:
        """Show what was set aside; an empty prompt when nothing was being edited."""
        self.fill(self._set_aside if self.editing else "")
        self.editing, self._set_aside = False, ""

    def action_send(self) -> None:
        """Post what was written; the screen empties the area when it could be sent."""
        self.post_message(self.Sent(self.text))

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_editor(self) -> None:
        """Write the prompt in the user's own editor."""
        try:
            self.fill(clean(external_editor.edit(self.app, self.text)))
        except TuningforkError as error:
            services(self).notify_error(error)

    def action_cursor_up(self, select: bool = False) -> None:
        """Up; on the first line: the prompt before. What was typed waits behind the newest."""
        at = len(self._earlier) if self._at is None else self._at
        if select or at == 0 or self._row > 0:
            super().action_cursor_up(select)
        else:
            self._recall(at - 1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Down; on the last line: the prompt after, at last what was typed."""
        if select or self._at is None or self._row < self.wrapped_document.height - 1:
            super().action_cursor_down(select)
        else:
            self._recall(self._at + 1)

    async def _on_paste(self, event: Paste) -> None:
        if len(event.text) > LONGEST_PROMPT:
            event.prevent_default()
            event.stop()
            self.post_message(self.TooLong(len(event.text)))

    @property
    def _row(self) -> int:
        """The line of the cursor as it is wrapped, from the top."""
        return self.wrapped_document.location_to_offset(self.cursor_location).y

    def _recall(self, at: int) -> None:
        """Show the prompt at a place of the history; one past the newest is what was being typed."""
        newest = len(self._earlier)
        self._changed[newest if self._at is None else self._at] = self.text
        self._at = None if at == newest else at
        self.fill(self._changed.get(at, self._earlier[at] if at < newest else ""))
