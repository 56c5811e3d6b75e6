"""The tokens of an answer as lines of text with marks below them, and a cursor that goes from token to token.
Draws what it is given; knows no model and no conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.inference.token_comparison import TokenSpan
from tui import keys
from tui.screens.compare.token_layout import PlacedToken, lay_out, place_of, token_at
from tui.token_words import sign, step

WIDEST = 100
"""Cells of a line; wider ones are hard to read."""
_ROWS = 2
"""Rows of a line: the text, and the marks below it."""
_MUCH = 2
"""Steps from which a token is one that `next` goes to: ten times as likely, or as unlikely."""
_CURSOR = Style(reverse=True)


class TokenLines(ScrollView, can_focus=True):
    """A colour and a mark for each token: by how much tuning changed its probability. The marks say all that the
    colours do."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.TOKENS)
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tokens--plain", "tokens--more-1", "tokens--more-2", "tokens--more-3", "tokens--less-1", "tokens--less-2",
        "tokens--less-3", "tokens--more-mark", "tokens--less-mark",
    }  # fmt: skip

    DEFAULT_CSS = """
    TokenLines {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        background: $surface;
        & .tokens--more-1 { background: $lane-b 12%; }
        & .tokens--more-2 { background: $lane-b 20%; text-style: underline; }
        & .tokens--more-3 { background: $lane-b 30%; text-style: bold underline; }
        & .tokens--less-1 { background: $lane-a 12%; }
        & .tokens--less-2 { background: $lane-a 20%; text-style: underline; }
        & .tokens--less-3 { background: $lane-a 30%; text-style: bold underline; }
        & .tokens--more-mark { color: $lane-b; }
        & .tokens--less-mark { color: $lane-a; }
        &:ansi .tokens--more-1, &:ansi .tokens--more-2, &:ansi .tokens--more-3 {
            color: $lane-b; background: ansi_default;
        }
        &:ansi .tokens--less-1, &:ansi .tokens--less-2, &:ansi .tokens--less-3 {
            color: $lane-a; background: ansi_default;
        }
    }
    """

    class Moved(Message):
        """The cursor is on another token."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: Sequence[TokenSpan] = ()
        self._lines: list[list[PlacedToken]] = []
        self.cursor = 0

    def show(self, spans: Sequence[TokenSpan]) -> None:
        """Show these tokens, the cursor on the one that tuning changed most."""
        self._spans = spans
        self._lay()
        self.go_to(max(range(len(spans)), key=lambda n: abs(spans[n].difference), default=0))

    def on_resize(self, event: Resize) -> None:
        self._lay()
        self._into_view()

    def _lay(self) -> None:
        width = min(WIDEST, self.scrollable_content_region.width - 1)
        self._lines = lay_out([span.text for span in self._spans], width)
        self.virtual_size = Size(self.scrollable_content_region.width, _ROWS * len(self._lines))
        self.refresh()

    # -- the cursor ---------------------------------------------------------------------------------------------------

    def go_to(self, token: int) -> None:
        """Put the cursor on a token, and bring it into view."""
        self.cursor = max(0, min(len(self._spans) - 1, token))
        self._into_view()
        self.refresh()
        self.post_message(self.Moved())

    def _into_view(self) -> None:
        line, _ = place_of(self._lines, self.cursor)
        self.scroll_to_region(Region(0, _ROWS * line, 1, _ROWS), animate=False, force=True)

    def action_step(self, by: int) -> None:
        """Go to the token before or after."""
        self.go_to(self.cursor + by)

    def action_line(self, by: int) -> None:
        """Go to the token above or below."""
        line, x = place_of(self._lines, self.cursor)
        line += by
        while 0 <= line < len(self._lines) and not self._lines[line]:
            line += by
        found = token_at(self._lines, line, x)
        if found is not None:
            self.go_to(found)

    def action_first(self) -> None:
        self.go_to(0)

    def action_last(self) -> None:
        self.go_to(len(self._spans) - 1)

    def action_changed(self, by: int) -> None:
        """Go to the next token, or the one before, that tuning made ten times as likely or as unlikely, around the
        ends."""
        changed = [n for n, span in enumerate(self._spans) if abs(step(span.difference)) >= _MUCH]
        if not changed:
            return
        if by > 0:
            self.go_to(next((n for n in changed if n > self.cursor), changed[0]))
        else:
            self.go_to(next((n for n in reversed(changed) if n < self.cursor), changed[-1]))

    def on_click(self, event: Click) -> None:
        found = token_at(self._lines, (event.y + self.scroll_offset.y) // _ROWS, event.x - 1)
        if found is not None:
            self.go_to(found)

    # -- drawing ------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        line, marks = divmod(y + self.scroll_offset.y, _ROWS)
        if line >= len(self._lines):
            return Strip.blank(width, base)
        segments = [Segment(" ", base)]
        for placed in self._lines[line]:
            segments.append(self._mark(placed, base) if marks else self._text(placed))
        return Strip(segments).extend_cell_length(width, base).crop(0, width)

    def _text(self, placed: PlacedToken) -> Segment:
        steps = step(self._spans[placed.token].difference)
        name = f"{'more' if steps > 0 else 'less'}-{abs(steps)}" if steps else "plain"
        style = self.get_component_rich_style(f"tokens--{name}")
        return Segment(placed.text, style + _CURSOR if placed.token == self.cursor else style)

    def _mark(self, placed: PlacedToken, base: Style) -> Segment:
        """As many signs as fit below the token; the style of its text says how many there are in any case."""
        text = sign(self._spans[placed.token].difference)
        style = self.get_component_rich_style(f"tokens--{'less' if '-' in text else 'more'}-mark") if text else base
        return Segment(set_cell_size(text, cell_len(placed.text)), style)
