"""A field for longer text: it wraps, Tab leaves it, nothing blinks, and pasted text is cleaned.
Knows nothing of pairs."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.widgets import TextArea

from tui import keys
from tui.text import clean, clip
from tui.widgets.in_order import InOrder

LONGEST_TO_EDIT = 50_000
"""Characters; a longer text is shown clipped and kept as it is: laying it out would freeze the keys."""


class Prose(InOrder, TextArea):
    """`original` is what the store holds; `result` is the original unless the user changed what was shown."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PROSE)

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(
            id=id, soft_wrap=True, tab_behavior="focus", show_line_numbers=False, highlight_cursor_line=False
        )
        self.border_title = title
        self.cursor_blink = False
        self._original = ""
        self._shown = ""

    def fill(self, original: str, text: str | None = None) -> None:
        """Hold `original`, showing `text` (unsaved typing) where given."""
        self._original = original
        self.read_only = len(original) > LONGEST_TO_EDIT
        self._shown = clip(original, 2_000) if self.read_only else clean(original)
        self.border_subtitle = f"{len(original):,} characters: too long to edit here" if self.read_only else ""
        self.load_text(self._shown if text is None or self.read_only else clean(text))

    def put(self, text: str) -> None:
        """Replace what is shown, as if it had been typed."""
        self.replace(clean(text), (0, 0), self.document.end)

    @property
    def result(self) -> str:
        """The text to save."""
        return self._original if self.text == self._shown else self.text

    @property
    def changed(self) -> bool:
        """Whether the user changed it."""
        return self.text != self._shown

    def action_top(self) -> None:
        self.move_cursor((0, 0))

    def action_bottom(self) -> None:
        self.move_cursor(self.document.end)

    def on_paste(self, event: events.Paste) -> None:
        event.text = clean(event.text)  # runs before TextArea's own handler
