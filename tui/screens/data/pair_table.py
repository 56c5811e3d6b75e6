"""A table of pairs that stays quick with 120,000 rows: it holds ids, and reads the pairs themselves a page at a time.
Draws and moves a cursor; what a key does to a pair is decided by the screen."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events, work
from textual.geometry import Size, clamp
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from store import search_text
from store.records import Pair
from tui import formatting, keys
from tui.text import fit
from tui.widgets.signs import STATUS_SIGN

PAGE = 64
KEPT = 32 * PAGE
"""Pairs kept in memory; others are read again when they come into view."""

Fetch = Callable[[Sequence[int]], Awaitable[list[Pair]]]


class PairTable(ScrollView, can_focus=True):
    """Rows of `show()`; a cursor; a set of marked ids."""

    BINDINGS = keys.bindings(keys.TABLE)
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pair-table--header", "pair-table--row", "pair-table--cursor", "pair-table--faint", "pair-table--match",
        "pair-table--ready", "pair-table--draft", "pair-table--rejected", "pair-table--marked",
    }  # fmt: skip
    DEFAULT_CSS = """
    PairTable {
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        overflow-x: hidden;
        & .pair-table--header { color: $faint; text-style: bold; background: $surface; }
        & .pair-table--row { color: $foreground; }
        & .pair-table--cursor { background: $lift; color: $foreground; }
        &:focus .pair-table--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & .pair-table--faint { color: $faint; }
        & .pair-table--match { color: $primary; text-style: bold underline; }
        & .pair-table--ready { color: $success; }
        & .pair-table--draft { color: $warning; }
        & .pair-table--rejected { color: $error; }
        & .pair-table--marked { color: $primary; text-style: bold; }
        &:ansi .pair-table--cursor { text-style: reverse; }
        &:ansi:focus .pair-table--cursor { text-style: bold; }
    }
    """

    ALLOW_SELECT = False
    cursor: reactive[int] = reactive(0, repaint=False)

    class Moved(Message):
        """The cursor is on another pair or none, or the pair under it was read again."""

    class Opened(Message):
        """Enter or a double click on a pair."""

    class MarksChanged(Message):
        """Pairs were marked or unmarked."""

    def __init__(self, fetch: Fetch, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._fetch = fetch
        self.ids: Sequence[int] = ()
        self.whole = True
        """Whether `ids` is the whole list, and not only the first of it."""
        self.marked: set[int] = set()
        self._kept: OrderedDict[int, Pair] = OrderedDict()
        self._wanted: set[int] = set()
        self._matches: re.Pattern[str] | None = None
        self._anchor: int | None = None

    # -- what it shows ------------------------------------------------------------------------------------------------

    def show(self, ids: Sequence[int], at: int, near: Iterable[Pair], typed: str = "", *, whole: bool = True) -> None:
        """List these ids with the cursor at row `at`; `near` are the pairs around it; `typed` is highlighted.

        `whole` is false for the first of a list whose other ids come later: marks of those stay.
        """
        self.ids, self.whole = ids, whole
        self._kept.clear()
        self._wanted.clear()
        self._keep(near)
        self._matches = search_text.pattern(typed)
        if self.marked and whole:
            self.marked &= set(ids)
        self.virtual_size = Size(0, len(ids) + 1)
        self.set_reactive(PairTable.cursor, clamp(at, 0, max(0, len(ids) - 1)))
        self._reveal()
        self.refresh()
        self.post_message(self.Moved())

    @property
    def current_id(self) -> int | None:
        """The id under the cursor."""
        return self.ids[self.cursor] if self.ids else None

    @property
    def current(self) -> Pair | None:
        """The pair under the cursor; None until it was read."""
        return self._kept.get(self.ids[self.cursor]) if self.ids else None

    def chosen(self) -> list[int]:
        """The marked ids in list order, or else the one under the cursor."""
        if self.marked:
            if not self.whole:
                return sorted(self.marked, reverse=True)  # as every list is ordered, the newest first
            return [each for each in self.ids if each in self.marked]
        return [self.ids[self.cursor]] if self.ids else []

    def rows_in_view(self) -> list[tuple[str, int]]:
        """Question and answer of the pairs that are in view, each with its row."""
        top, past = self._rows_in_view()
        pairs = [(self._kept.get(self.ids[row]), row) for row in range(top, min(past - 1, len(self.ids)))]
        return [(f"{pair.question}  {pair.answer}", row) for pair, row in pairs if pair is not None]

    def unmark(self) -> None:
        """Mark nothing."""
        if self.marked:
            self.marked.clear()
            self.refresh()
            self.post_message(self.MarksChanged())

    # -- reading ------------------------------------------------------------------------------------------------------

    def _keep(self, found: Iterable[Pair]) -> None:
        for pair in found:
            self._kept[pair.id] = pair
            self._kept.move_to_end(pair.id)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _want(self, row: int) -> None:
        number = row // PAGE
        if number not in self._wanted:
            self._wanted.add(number)
            self._read_wanted()

    @work(group="pages", exclusive=False)
    async def _read_wanted(self) -> None:
        while self._wanted:
            ids, top = self.ids, (self.scroll_offset.y + self.cursor) // 2 // PAGE
            number = min(self._wanted, key=lambda page: abs(page - top))
            first, last = self._rows_in_view()
            if (number + 1) * PAGE <= first or number * PAGE > last:
                self._wanted.discard(number)  # scrolled past while it waited
                continue
            found = await self._fetch(ids[number * PAGE : (number + 1) * PAGE])
            if ids is not self.ids:
                return
            self._wanted.discard(number)
            self._keep(found)
            self.refresh()
            if number == self.cursor // PAGE:
                self.post_message(self.Moved())

    def _rows_in_view(self) -> tuple[int, int]:
        top = self.scroll_offset.y
        return top, top + self.size.height

    # -- moving -------------------------------------------------------------------------------------------------------

    def validate_cursor(self, row: int) -> int:
        return clamp(row, 0, max(0, len(self.ids) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        self._reveal()
        self.refresh_lines(old + 1)
        self.refresh_lines(new + 1)
        self.post_message(self.Moved())

    def _reveal(self) -> None:
        """Scroll so that the cursor's row is in view, below the header."""
        body = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True, immediate=True)
        elif self.cursor >= top + body:
            self.scroll_to(y=self.cursor - body + 1, animate=False, force=True, immediate=True)

    def on_resize(self) -> None:
        self._reveal()

    def action_move(self, rows: int) -> None:
        self._anchor = None
        self.cursor += rows

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.size.height - 2))

    def action_first(self) -> None:
        self.action_move(-len(self.ids))

    def action_last(self) -> None:
        self.action_move(len(self.ids))

    def action_mark(self) -> None:
        """Mark or unmark the row, and go to the next."""
        if self.current_id is not None:
            self.marked ^= {self.current_id}
            self._marks_changed()
            self.cursor += 1

    def action_stretch(self, rows: int) -> None:
        """Extend the marks from where this began to the cursor's new row."""
        if not self.ids:
            return
        anchor = self.cursor if self._anchor is None else self._anchor
        self.cursor += rows
        self._anchor = anchor
        low, high = sorted((anchor, self.cursor))
        self.marked |= set(self.ids[low : high + 1])
        self._marks_changed()

    def action_mark_all(self) -> None:
        """Mark every listed pair, or none when all are. Not before all are listed."""
        if not self.whole:
            self.app.bell()
            return
        self.marked = set() if len(self.marked) == len(self.ids) else set(self.ids)
        self._marks_changed()

    def _marks_changed(self) -> None:
        self.refresh()
        self.post_message(self.MarksChanged())

    def action_open(self) -> None:
        if self.ids:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        row = event.y + self.scroll_offset.y - 1
        if event.y >= 1 and row < len(self.ids):
            self._anchor = None
            self.cursor = row
            if event.chain == 2:
                self.action_open()

    # -- drawing ------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y == 0:
            return self._header(width)
        row = y - 1 + self.scroll_offset.y
        if row >= len(self.ids):
            return Strip.blank(width, self.rich_style)
        pair = self._kept.get(self.ids[row])
        base = self.get_component_rich_style("pair-table--cursor" if row == self.cursor else "pair-table--row")
        if pair is None:
            self._want(row)
            return Strip([Segment("   …", base)]).adjust_cell_length(width, base)
        return Strip(self._cells(pair, row, width, base)).adjust_cell_length(width, base)

    def _columns(self, width: int) -> tuple[int, int, int, int, int]:
        """Widths of status, question, answer, tags and age; 0 leaves a column out."""
        status = 11 if width >= 100 else 2
        tags = 16 if width >= 120 else 0
        age = 9 if width >= 70 else 0
        rest = max(12, width - 3 - status - tags - age - 1)
        question = max(8, rest * 45 // 100)
        return status, question, max(4, rest - question - 2), tags, age

    def _header(self, width: int) -> Strip:
        style = self.get_component_rich_style("pair-table--header")
        status, question, answer, tags, age = self._columns(width)
        text = (
            "   "
            + fit("status" if status > 2 else "", status)
            + fit("question", question)
            + "  "
            + fit("answer", answer)
        )
        text += ("  " + fit("tags", tags - 2) if tags else "") + ("changed".rjust(age) if age else "")
        return Strip([Segment(text, style)]).adjust_cell_length(width, style)

    def _cells(self, pair: Pair, row: int, width: int, base: Style) -> Iterable[Segment]:
        status, question, answer, tags, age = self._columns(width)
        plain = row == self.cursor and self.app.native_ansi_color  # 16 colours on a coloured row are not readable
        faint = base if plain else base + _colour(self.get_component_rich_style("pair-table--faint"))
        mark = "●" if pair.id in self.marked else " "
        edge = "▌" if row == self.cursor else " "
        marked = base if plain else base + _colour(self.get_component_rich_style("pair-table--marked"))
        yield Segment(edge, marked)
        yield Segment(mark + " ", marked)
        word = f"{STATUS_SIGN[pair.status]} {pair.status}" if status > 2 else STATUS_SIGN[pair.status]
        colour = base if plain else base + _colour(self.get_component_rich_style(f"pair-table--{pair.status}"))
        yield Segment(fit(word, status), colour)
        yield from self._found(fit(pair.question, question), base)
        yield Segment("  ", base)
        answered = fit(pair.answer, answer) if pair.answer.strip() else fit("no answer yet", answer)
        yield from self._found(answered, faint)
        if tags:
            shown = ("identity " if pair.kind == "identity" else "") + " ".join(pair.tags)
            yield Segment("  " + fit(shown, tags - 2), faint)
        if age:
            yield Segment(formatting.ago(pair.updated_at).rjust(age), faint)

    def _found(self, text: str, style: Style) -> Iterable[Segment]:
        """The text with the searched words marked."""
        if self._matches is None:
            yield Segment(text, style)
            return
        match = style + _colour(self.get_component_rich_style("pair-table--match"))
        at = 0
        for found in self._matches.finditer(text):
            yield Segment(text[at : found.start()], style)
            yield Segment(found.group(), match)
            at = found.end()
        yield Segment(text[at:], style)


def _colour(style: Style) -> Style:
    """The style's foreground and attributes without its background, which belongs to the row."""
    return Style(
        color=style.color, bold=style.bold or None, underline=style.underline or None, reverse=style.reverse or None,
        italic=style.italic or None, dim=style.dim or None,
    )  # fmt: skip
