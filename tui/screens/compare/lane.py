"""One side of a comparison as lines of text; it follows the newest line only while that is in view.
Draws the blocks that it is given; knows no model, no conversation and no clock."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.events import Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from tui import keys
from tui.text import clean
from tui.widgets.flow import Flow

if TYPE_CHECKING:
    from tui.screens.compare.markdown_lines import MarkdownLines

BlockKind = Literal["prompt", "answer", "note", "error", "reveal-a", "reveal-b", "best"]
GUTTER = 3
WIDEST = 100
"""Cells of a line of prose; wider lines are hard to read, however wide the terminal is."""
_SIGN: dict[str, str] = {"prompt": " ▌ ", "error": " ! ", "best": " ★ "}
_MATCH = Style(reverse=True)
CURSOR = "▍"


@dataclass(frozen=True, slots=True)
class Block:
    """A prompt, an answer, or a remark between them.

    `live` draws the cursor of an answer that is being written, `markdown` an ended one as Markdown.
    """

    kind: BlockKind
    text: str
    live: bool = False
    markdown: bool = False


def _markdown(width: int, text: str) -> MarkdownLines:
    from tui.screens.compare.markdown_lines import MarkdownLines  # its parser is imported when it is first needed

    return MarkdownLines(width, text)


class _Laid:
    """A block as wrapped lines, and a blank line after it unless the next block belongs to it."""

    def __init__(self, block: Block, width: int, closed: bool) -> None:
        self.block = block
        self.flow: Flow | MarkdownLines = _markdown(width, block.text) if block.markdown else Flow(width, block.text)
        self.closed = closed

    @property
    def text_lines(self) -> int:
        return max(1, len(self.flow))

    @property
    def height(self) -> int:
        return self.text_lines + self.closed


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the view: the line that it shows and how it is drawn."""

    line: int
    segments: tuple[Segment, ...]

    @property
    def cells(self) -> int:
        return sum(segment.cell_length for segment in self.segments)


class LaneView(ScrollView, can_focus=True):
    """Shows blocks; `show()` again with grown ones costs only what is new."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.LANE)
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "lane--prompt", "lane--answer", "lane--note", "lane--error", "lane--reveal-a", "lane--reveal-b", "lane--best",
        "lane--cursor",
    }  # fmt: skip

    DEFAULT_CSS = """
    LaneView {
        overflow-x: hidden;
        overflow-y: scroll;  /* always there, if blank: one that appears lays out the screen and sends all of it */
        scrollbar-background: $surface;
        scrollbar-background-hover: $surface;
        scrollbar-background-active: $surface;
        scrollbar-size-vertical: 1;
        & .lane--prompt { text-style: bold; }
        & .lane--note { color: $faint; }
        & .lane--error { color: $error; }
        & .lane--best { color: $success; text-style: bold; }
        & .lane--reveal-a { color: $lane-a; text-style: bold; }
        & .lane--reveal-b { color: $lane-b; text-style: bold; }
        & .lane--cursor { color: $accent; }
    }
    """

    class Followed(Message):
        """The reader reached the bottom, or left it."""

        def __init__(self, lane: LaneView, following: bool) -> None:
            super().__init__()
            self.lane, self.following = lane, following

        @property
        def control(self) -> LaneView:
            return self.lane

    class Scrolled(Message):
        """The reader moved the view; not sent for moves that new text or `go_to` makes."""

        def __init__(self, lane: LaneView) -> None:
            super().__init__()
            self.lane = lane

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._led = False  # another view leads this one: its moves are no news
        self._sought: re.Pattern[str] | None = None
        self._found: int | None = None  # the line of the match that was gone to
        self._blocks: list[Block] = []
        self._laid: list[_Laid] = []
        self._tops: list[int] = [0]
        self._total = 0
        self._wrapped_at = 0
        self._following = True
        self._prompted = 0
        self._by_itself = False
        self._moved: int | None = None  # rows of a move that are drawn; None when there is no move to draw
        self._left = 0  # the line that the view left with that move
        self._bar_due = False
        self._shown: dict[int, _Row] = {}

    # -- what it shows ------------------------------------------------------------------------------------------------

    @property
    def following(self) -> bool:
        """True while the last line is in view, so that new text moves the view."""
        return self._following

    @property
    def allow_select(self) -> bool:
        return True

    @property
    def moving(self) -> bool:
        """True while a part of the view still shows what it showed before it moved."""
        return self._moved is not None

    def show(self, blocks: Sequence[Block], rows: int | None = None) -> int:
        """Draw these blocks instead. Reading further up stays where it is.

        A view that moves has to be sent whole. With `rows`, at most so many of its rows are drawn now and the rest with
        the next calls, while `moving`: the echo of a key does not wait for all of them. Returns how many were drawn.
        """
        self._blocks = list(blocks)
        if not self._width:
            self._moved = None
            return 0  # hidden: laid out and drawn when it gets a size
        first = self._lay()
        self._fit()
        for y in range(max(0, first - self.scroll_offset.y), self.size.height):
            self._redraw(y)
        return self._draw_moved(rows)

    def follow(self) -> None:
        """Go to the last line and stay there."""
        self._set_following(True)
        self._fit()
        self._draw_moved(None)

    def plain_text(self) -> str:
        """All text, as it would be copied."""
        return "\n\n".join(laid.flow.text for laid in self._laid)

    # -- where it is --------------------------------------------------------------------------------------------------

    def place(self) -> tuple[int, int]:
        """What is at the top of the view: the turn, and the rows below its prompt's first."""
        prompts, top = self._prompts(), self.scroll_offset.y
        turn = max(0, bisect_right(prompts, top) - 1)
        return turn, top - (prompts[turn] if prompts else 0)

    def go_to(self, turn: int, rows: int) -> None:
        """Move to a `place` of another view; where this turn is shorter than that, to its end."""
        prompts = self._prompts()
        if turn < len(prompts):
            end = prompts[turn + 1] if turn + 1 < len(prompts) else self._total
            self._led = True
            self.scroll_to(y=min(prompts[turn] + rows, max(prompts[turn], end - 1)), animate=False, force=True)
            self._led = False

    def _prompts(self) -> list[int]:
        """The first line of each prompt."""
        return [top for top, laid in zip(self._tops, self._laid, strict=False) if laid.block.kind == "prompt"]

    # -- searching ----------------------------------------------------------------------------------------------------

    def seek(self, words: str) -> None:
        """Mark a text wherever it is shown, whatever its case; the empty text marks nothing."""
        self._sought = re.compile(re.escape(words), re.IGNORECASE) if words else None
        self._found = None
        self.refresh()

    def matches(self) -> list[int]:
        """The lines in which the sought text begins, also where a line break goes through it."""
        if self._sought is None:
            return []
        found: list[int] = []
        for top, laid in zip(self._tops, self._laid, strict=False):
            starts, text = [], ""
            for row in range(len(laid.flow)):
                starts.append(len(text))
                text += laid.flow.line(row) + laid.flow.joint(row)
            found += [top + bisect_right(starts, match.start()) - 1 for match in self._sought.finditer(text)]
        return list(dict.fromkeys(found))

    def how_often(self) -> int:
        """How often the sought text is in the blocks, also where the view is hidden and has no lines."""
        return sum(len(self._sought.findall(clean(block.text))) for block in self._blocks) if self._sought else 0

    def go_to_match(self, step: int) -> tuple[int, int]:
        """Go to the next match (-1: to the one before), around the ends. Its number from 1, and how many there are."""
        found = self.matches()
        if not found:
            self._found = None
            return 0, 0
        if self._found is None:  # the first at or below the top of the view
            at = bisect_left(found, self.scroll_offset.y) % len(found)
        elif step > 0:
            at = bisect_right(found, self._found) % len(found)
        else:
            at = (bisect_left(found, self._found) - 1) % len(found)
        self._found = found[at]
        if not self.scroll_offset.y <= self._found < self.scroll_offset.y + self.size.height:
            self.scroll_to(y=max(0, self._found - self.size.height // 3), animate=False, force=True)
        self.refresh()
        return at + 1, len(found)

    # -- laying out ---------------------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        return min(WIDEST, max(0, self.scrollable_content_region.width - GUTTER - 1))

    def _lay(self) -> int:
        """Wrap what changed; the first line that differs.

        Blocks that are the very objects of the last call are not looked at again, so that an answer that grows at the
        end of a long conversation costs no more than in a short one.
        """
        width = self._width
        if width != self._wrapped_at:
            self._laid, self._tops, self._wrapped_at = [], [0], width
        same = 0
        for laid, block in zip(self._laid, self._blocks, strict=False):
            if laid.block is not block:
                break
            same += 1
        start = max(0, same - 1)  # whether a blank line ends it depends on the block after it
        before, kept = self._laid[start:], self._laid[:start]
        first: int | None = None
        line = self._tops[start]
        for n, block in enumerate(self._blocks[start:]):
            closed = self._ends(start + n)
            old = before[n] if n < len(before) else None
            if old is None or (old.block.kind, old.block.markdown) != (block.kind, block.markdown):
                laid = _Laid(block, width, closed)
                changed: int | None = line
            else:
                laid, as_was = old, old.block.live == block.live and old.closed == closed
                laid.block, laid.closed = block, closed
                grown = laid.flow.grow(block.text)
                if grown < len(laid.flow):
                    changed = line + grown
                else:
                    changed = None if as_was else line + laid.text_lines - 1
            kept.append(laid)
            first = changed if first is None else first
            line += laid.height
        if first is None and len(kept) < len(self._laid):
            first = line
        self._laid = kept
        self._tops[start:] = accumulate((laid.height for laid in kept[start:]), initial=self._tops[start])
        self._total = self._tops[-1]
        return self._total if first is None else first

    def _ends(self, n: int) -> bool:
        """Whether a blank line ends block `n`; a remark is right under its answer, a reveal right above."""
        following = self._blocks[n + 1].kind if n + 1 < len(self._blocks) else None
        return following not in ("note", "error", "best") and not self._blocks[n].kind.startswith("reveal")

    def _fit(self, resized: bool = False) -> None:
        """Size the view and, at the bottom, move it.

        A new prompt goes to the top of the view, so that the answers of all lanes start on one line. An answer that
        runs out of the view moves it by half a page: a view that moves with every line is hard to read and costs a slow
        link a whole repaint for each line.
        """
        height = self.scrollable_content_region.height
        if not height:
            return
        top, newest = self.scroll_offset.y, self._newest_prompt()
        if self._following:
            if newest != self._prompted:
                top = newest
            if resized or not top <= self._total - 1 < top + height:
                top = max(0, self._total - height + (height // 2 if self._growing else 0))
                if self._total - newest <= height:
                    top = newest
        self._prompted = newest
        bottom = max(self._total, top + height if self._following else 0)
        size = Size(self.scrollable_content_region.width, bottom)
        if size != self.virtual_size:
            self.set_reactive(LaneView.virtual_size, size)  # assigned, it lays out the whole screen: 20 ms of no keys
            self._bar_due = True
        if top != self.scroll_offset.y:
            self._by_itself = True
            self.scroll_to(y=top, animate=False, force=True)
            self._by_itself = False
        self._draw_bar()

    def _newest_prompt(self) -> int:
        """The line where the last prompt begins; 0 while there is only one."""
        return next(
            (
                top
                for top, laid in zip(reversed(self._tops[:-1]), reversed(self._laid), strict=True)
                if laid.block.kind == "prompt"
            ),
            0,
        )

    @property
    def _growing(self) -> bool:
        return any(block.live for block in self._blocks[-2:])

    def on_resize(self, event: Resize) -> None:
        if self._width:
            self._lay()  # also at the width it had: what was shown while it was hidden was not laid out
        self._fit(resized=True)
        self._moved = None
        self._draw_bar()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        if self._by_itself:
            self._moved, self._left, self._bar_due = 0, round(old_value), True
        else:
            self._moved = None
            super().watch_scroll_y(old_value, new_value)
            if not self._led and round(old_value) != round(new_value):
                self.post_message(self.Scrolled(self))
        height = self.scrollable_content_region.height
        if height:
            self._set_following(self._total <= round(new_value) + height)

    def _set_following(self, following: bool) -> None:
        if following != self._following:
            self._following = following
            self.post_message(self.Followed(self, following))

    def action_bottom(self) -> None:
        """Go to the last line and follow it."""
        self.follow()
        self.post_message(self.Scrolled(self))

    # -- drawing ------------------------------------------------------------------------------------------------------

    def _draw_moved(self, rows: int | None) -> int:
        """Draw the next rows of a move, from the top; all that are left without a number."""
        drawn = 0
        while self._moved is not None and (rows is None or drawn < rows):
            y, self._moved = self._moved, self._moved + 1
            drawn += self._redraw(y)
            if self._moved >= self.size.height:
                self._moved = None
                self._draw_bar()
        return drawn

    def _draw_bar(self) -> None:
        """Let the scrollbar follow, when a move is drawn: it costs as much as the rows beside it."""
        if self._bar_due and not self.moving:
            self._bar_due = False
            self._scroll_update(self.virtual_size)
            self.vertical_scrollbar.position = self.scroll_y

    def _redraw(self, y: int) -> bool:
        """Have a row drawn, as far as it has or had text, if it shows something else now."""
        old, new = self._shown.get(y), self._row(y)
        if old == new:
            return False
        cells = self.size.width if old is None else max(old.cells, new.cells)
        self.refresh(Region(0, y, cells, 1))
        return True

    def _row(self, y: int) -> _Row:
        """What a row of the view shows."""
        line = y + (self.scroll_offset.y if self._moved is None or y < self._moved else self._left)
        n = bisect_right(self._tops, line) - 1
        if line >= self._total or line - self._tops[n] >= self._laid[n].text_lines:
            return _Row(0, ())
        return _Row(line, tuple(self._segments(self._laid[n], line - self._tops[n], line)))

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        row = self._shown[y] = self._row(y)
        strip = Strip(row.segments).extend_cell_length(width, base)
        strip = strip.crop(0, width).simplify()  # every change of style costs a link 24 bytes
        return strip.apply_offsets(0, row.line) if row.segments else strip

    def _segments(self, laid: _Laid, row: int, line: int) -> list[Segment]:
        kind = laid.block.kind
        style = self.get_component_rich_style(f"lane--{kind}")
        text = laid.flow.line(row) if len(laid.flow) else ""
        sign = _SIGN.get(kind, " " * GUTTER) if kind == "prompt" or row == 0 else " " * GUTTER
        if line == self._found:
            sign = "▸" + sign[1:]
        segments = [Segment(sign, self.get_component_rich_style("lane--cursor") if kind == "prompt" else style)]
        if isinstance(laid.flow, Flow) or self.text_selection or self._sought:
            segments += self._found_in(text, style) if self._sought else self._selected(text, style, line)
        elif text:
            segments += laid.flow.segments(row, style)
        if laid.block.live and row == laid.text_lines - 1:
            segments.append(Segment(CURSOR, self.get_component_rich_style("lane--cursor")))
        return segments

    def _found_in(self, text: str, style: Style) -> list[Segment]:
        """A line with every match in it marked."""
        segments, at = [], 0
        for match in self._sought.finditer(text) if self._sought else ():
            segments += [Segment(text[at : match.start()], style), Segment(match.group(), style + _MATCH)]
            at = match.end()
        return [segment for segment in (*segments, Segment(text[at:], style)) if segment.text]

    def _selected(self, text: str, style: Style, line: int) -> list[Segment]:
        selection = self.text_selection
        span = selection.get_span(line) if selection else None
        if span is None:
            return [Segment(text, style)]
        start, end = max(0, span[0] - GUTTER), len(text) if span[1] < 0 else max(0, span[1] - GUTTER)
        marked = style + self.screen.get_component_rich_style("screen--selection")
        parts = ((text[:start], style), (text[start:end], marked), (text[end:], style))
        return [Segment(part, how) for part, how in parts if part]

    # -- selecting ----------------------------------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text as it was written: breaks that only the width made are taken out again."""
        parts: list[str] = []
        for top, laid in zip(self._tops, self._laid, strict=False):
            for row in range(len(laid.flow)):
                span = selection.get_span(top + row)
                if span is None:
                    continue
                text = laid.flow.line(row)
                start, end = max(0, span[0] - GUTTER), len(text) if span[1] < 0 else max(0, span[1] - GUTTER)
                parts.append(text[start:end])
                if span[1] < 0:
                    parts.append(laid.flow.joint(row) if row + 1 < len(laid.flow) else "\n\n")
        return ("".join(parts).rstrip("\n"), "\n") if parts else None

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()
