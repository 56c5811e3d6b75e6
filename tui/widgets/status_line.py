"""One line of facts above the key bar: what is listed on the left, where the cursor is on the right.
Literal text only."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from tui.text import one_line


class StatusLine(Widget):
    """`show(left, right)`; the right end wins when both do not fit."""

    DEFAULT_CSS = """
    StatusLine { width: 1fr; height: 1; color: $faint; padding: 0 1; }
    """
    _left = ""
    _right = ""

    def show(self, left: str, right: str = "") -> None:
        """Show these instead."""
        if (left, right) != (self._left, self._right):
            self._left, self._right = left, right
            self.refresh()

    def render(self) -> Content:
        width = self.size.width
        right = one_line(self._right, width)
        left = one_line(self._left, max(0, width - len(right) - 2))
        return Content.assemble(
            left, " " * max(0, width - Content(left).cell_length - Content(right).cell_length), right
        )
