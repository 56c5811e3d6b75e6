"""The lines of a growing log, wrapped, with a search; follows the end while it is in view.
Draws the text it is given; reads no file."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import ClassVar

from rich.segment import Segment
from textual.binding import BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui import keys
from tui.paste import plain
from tui.widgets.flow import Flow

_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")
"""What a progress bar wrote over later, on the same line."""


def tidy(text: str) -> str:
    """A log as a terminal would leave it: without colours, and of a line that was written over only the last state.

    >>> tidy("\\x1b[32m10%\\r50%\\r100%\\r\\nsaved\\x07")
    '100%\\nsaved'
    """
    text = _OVERWRITTEN.sub("", text.replace("\r\n", "\n"))
    return plain(text.replace("\r", ""))


class LogText(ScrollView, can_focus=True):
    """`add()` appends what was written; `find()` goes from match to match."""

    DEFAULT_CSS = """
    LogText {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        & .log--match { color: $foreground; background: $primary 40%; text-style: bold underline; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--match"}
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.LOG_TEXT)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._whole = ""
        """Complete lines."""
        self._rest = ""
        """The line that is still being written, as it came."""
        self._flow, self._last = Flow(0), Flow(0)
        self._follow = True
        """Whether what comes is scrolled into view: kept, since the size and a scroll under way say nothing of it."""
        self.needle = ""
        self.at = -1
        """The row of the match that was gone to last."""

    # -- text ---------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Show nothing, and follow what comes."""
        self._whole = self._rest = ""
        self._follow = True
        self._wrap(Flow(self._flow.width))
        self._settle()

    def add(self, text: str) -> None:
        """Append what was written since."""
        if not text:
            return
        lines, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            more = tidy(lines)
            self._whole = f"{self._whole}\n{more}" if self._whole else more
        self._wrap(self._flow)
        self._settle()

    def on_resize(self, event: Resize) -> None:
        self._wrap(Flow(self.scrollable_content_region.width - 1))
        self._settle()

    def _wrap(self, flow: Flow) -> None:
        self._flow = flow
        self._flow.grow(self._whole)
        self._last = Flow(flow.width, tidy(self._rest))

    def _settle(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._flow) + len(self._last))
        if self._follow:
            self.action_bottom()
        self.refresh()

    # -- moving -------------------------------------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value >= self.max_scroll_y:
            self._follow = True
        elif new_value < old_value:
            self._follow = False

    def action_bottom(self) -> None:
        """Go to the newest line, and follow it."""
        self._follow = True
        self.scroll_to(y=self.virtual_size.height, animate=False, force=True)

    def action_first(self) -> None:
        """Go to the oldest line."""
        self._follow = False
        self.scroll_to(y=0, animate=False, force=True)

    def find(self, step: int = 1, at: int | None = None) -> bool:
        """Go to the next (or, by -1, the previous) line with the needle, round the end; False where there is none."""
        rows = self._rows_with()
        if not rows:
            return False
        at = self.at if at is None else at
        if step > 0:
            row = next((row for row in rows if row > at), rows[0])
        else:
            row = next((row for row in reversed(rows) if row < at), rows[-1])
        self.at = row
        self._follow = False
        self.scroll_to(y=max(0, row - self.scrollable_content_region.height // 2), animate=False, force=True)
        self.refresh()
        return True

    @property
    def matches(self) -> int:
        """Rows with the needle."""
        return len(self._rows_with())

    def _rows_with(self) -> list[int]:
        rows: list[int] = []
        before = 0
        for flow in (self._flow, self._last):
            starts = [start for start, _ in flow.spans]
            for match in re.finditer(re.escape(self.needle), flow.text, re.IGNORECASE) if self.needle else ():
                row = before + bisect_right(starts, match.start()) - 1
                if rows[-1:] != [row]:
                    rows.append(row)
            before = len(self._flow)
        return rows

    # -- drawing ------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        row, base = y + self.scroll_offset.y, self.rich_style
        flow, n = (self._flow, row) if row < len(self._flow) else (self._last, row - len(self._flow))
        if n >= len(flow):
            return Strip.blank(self.size.width, base)
        start, end = flow.spans[n]
        match_style = self.get_component_rich_style("log--match")
        segments, here = [Segment("▸" if row == self.at and self.needle else " ", base)], start
        if self.needle:
            # a match that a soft break cuts is drawn on both lines
            first = max(0, start - len(self.needle))
            for match in re.finditer(re.escape(self.needle), flow.text[first : end + len(self.needle)], re.IGNORECASE):
                left, right = max(here, first + match.start()), min(end, first + match.end())
                if left < right:
                    segments += [Segment(flow.text[here:left], base), Segment(flow.text[left:right], match_style)]
                    here = right
        segments.append(Segment(flow.text[here:end], base))
        return Strip(segments).extend_cell_length(self.size.width, base).crop(0, self.size.width)
