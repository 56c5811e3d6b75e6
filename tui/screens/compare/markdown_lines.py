"""A finished answer as Markdown, in lines of a width: the same shape as a Flow, with styles in it.
Draws clean text only; links are shown as text."""

from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console
from rich.markdown import Markdown
from rich.segment import Segment
from rich.style import Style
from rich.theme import Theme

from tui.text import clean

_THEME = Theme(
    {
        "markdown.h1": "bold underline", "markdown.h2": "bold underline", "markdown.h3": "bold", "markdown.h4": "bold",
        "markdown.code": "bold", "markdown.code_block": "none", "markdown.item.bullet": "bold",
        "markdown.item.number": "bold", "markdown.block_quote": "italic", "markdown.hr": "dim",
        "markdown.link": "underline", "markdown.link_url": "underline", "markdown.h1.border": "none",
    }
)  # fmt: skip


class MarkdownLines:
    """`text` is what a copy gets: the Markdown as it was written."""

    def __init__(self, width: int, raw: str) -> None:
        self.width, self.raw = max(4, width), raw
        self.text = clean(raw)
        console = Console(file=io.StringIO(), width=self.width, color_system="truecolor", theme=_THEME,
                          force_terminal=True, legacy_windows=False, _environ={})  # fmt: skip
        page = Markdown(self.text, code_theme="ansi_dark", hyperlinks=False)
        lines = [_shorn(line) for line in console.render_lines(page, pad=False)]
        while lines and not lines[0]:
            del lines[0]
        while lines and not lines[-1]:
            del lines[-1]
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, n: int) -> str:
        return "".join(segment.text for segment in self._lines[n])

    def joint(self, n: int) -> str:
        return "\n"

    def segments(self, n: int, base: Style) -> list[Segment]:
        """One line over a base style."""
        return [Segment(text, base + style if style else base) for text, style, _ in self._lines[n]]

    def grow(self, raw: str) -> int:
        """Show `raw` instead and return the first line that may differ: Markdown is laid out again as a whole."""
        if raw != self.raw:
            self.__init__(self.width, raw)  # type: ignore[misc]
            return 0
        return len(self._lines)


def _shorn(line: list[Segment]) -> list[Segment]:
    """A line without the spaces at its end, and without control codes."""
    kept = [segment for segment in line if not segment.control]
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        text, style, _ = kept[-1]
        kept[-1] = Segment(text.rstrip(), style)
    return kept if any(cell_len(segment.text) for segment in kept) else []
