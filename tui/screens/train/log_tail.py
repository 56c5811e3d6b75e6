"""The messages of a run: one entry for each event, wrapped, the newest in view.
Draws the entries it is given; reads no file and no store."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.widgets.flow import Flow

KEEP = 500
_CLOCK = 9
_SIGN = {"warning": "! ", "error": "✗ "}


class LogTail(ScrollView, can_focus=True):
    """`add()` appends entries; the view follows while it is at the bottom."""

    DEFAULT_CSS = """
    LogTail {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        & .log--time { color: $faint; }
        & .log--info { color: $foreground; }
        & .log--warning { color: $warning; }
        & .log--error { color: $error; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--time", "log--info", "log--warning", "log--error"}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: list[tuple[str, str, str]] = []
        self._shown: list[tuple[str, str, str]] = []
        self._flows: list[Flow] = []
        self._starts: list[int] = [0]
        self._wrapped_at = 0

    def forget(self) -> None:
        """Show nothing."""
        self._entries.clear()
        self._flows.clear()
        self._starts = [0]
        self._settle(True)

    def add(self, entries: Iterable[tuple[int, str, str]]) -> None:
        """Append (UTC milliseconds, level, text)."""
        follow = self.scroll_offset.y >= self.max_scroll_y
        new = [(time.strftime("%H:%M:%S", time.localtime(at / 1000)), level, text) for at, level, text in entries]
        if not new:
            return
        self._entries = (self._entries + new)[-KEEP:]
        self._wrap()
        self._settle(follow)

    def on_resize(self, event: Resize) -> None:
        self._wrap()
        self._settle(True)

    def _wrap(self) -> None:
        width = self.scrollable_content_region.width - _CLOCK - 1
        if width <= 0:
            return
        if width != self._wrapped_at or len(self._flows) > len(self._entries):
            self._flows = []
        known = {id(entry): flow for entry, flow in zip(self._shown, self._flows, strict=False)}
        self._flows = [known.get(id(e)) or Flow(width, _SIGN.get(e[1], "") + e[2]) for e in self._entries]
        self._shown = list(self._entries)
        self._wrapped_at = width
        self._starts = [0]
        for flow in self._flows:
            self._starts.append(self._starts[-1] + max(1, len(flow)))

    def _settle(self, follow: bool) -> None:
        total = self._starts[-1]
        self.virtual_size = Size(self.scrollable_content_region.width, total)
        if follow:
            self.scroll_to(y=max(0, total - self.scrollable_content_region.height), animate=False, force=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        line = y + self.scroll_offset.y
        base = self.rich_style
        n = bisect_right(self._starts, line) - 1
        if n >= len(self._flows):
            return Strip.blank(self.size.width, base)
        clock, level, _ = self._entries[n]
        row = line - self._starts[n]
        style = self.get_component_rich_style(f"log--{level if level in _SIGN else 'info'}")
        head = Segment(f"{clock:<{_CLOCK}}" if row == 0 else " " * _CLOCK, self.get_component_rich_style("log--time"))
        flow = self._flows[n]
        strip = Strip([head, Segment(flow.line(row) if row < len(flow) else "", style)])
        return strip.extend_cell_length(self.size.width, base).crop(0, self.size.width)
