"""Foreign text broken into lines of a width, cheaply while it grows: only what is new is wrapped.
Knows cells and spaces; nothing of widgets, colours or models."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells

from tui.text import clean

_CJK = "\u1100-\u11ff\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60\uffe0-\uffe6"
_CJK += "\U00020000-\U0003fffd"
_CLOSING = "、。，．：；？！）］｝〉》」』】"
_ATOMS = re.compile(rf"[^\S\n]+|[{_CJK}][\u0300-\u036f\u3099\u309a]*[{_CLOSING}]*|[^\s{_CJK}]+")
"""What a line breaks between: runs of spaces, single characters of scripts written without spaces, words."""
TAB = "    "


class Flow:
    """Text as lines of at most `width` cells. Wrapping is greedy, so a line that is not the last can never change.

    `spans` holds (start, end) into `text` for each line; the spaces that a soft break swallows lie between two spans.
    """

    def __init__(self, width: int, raw: str = "") -> None:
        self.width = max(2, width)  # the widest character must fit
        self.text = ""
        self.spans: list[tuple[int, int]] = []
        self._raw = ""
        self.grow(raw)

    def __len__(self) -> int:
        return len(self.spans)

    def line(self, n: int) -> str:
        start, end = self.spans[n]
        return self.text[start:end]

    def joint(self, n: int) -> str:
        """What stood between line `n` and the next: a newline, or the spaces of a soft break."""
        end = self.spans[n][1]
        return self.text[end : self.spans[n + 1][0]] if n + 1 < len(self.spans) else ""

    def grow(self, raw: str) -> int:
        """Show `raw` instead and return the first line that may differ; of a continuation only the end is wrapped."""
        if raw == self._raw:
            return len(self.spans)
        if self._raw and raw.startswith(self._raw):
            self.text += clean(raw[len(self._raw) :]).replace("\t", TAB)
            first = max(0, len(self.spans) - 1)
        else:
            self.text = clean(raw).replace("\t", TAB)
            first = 0
        self._raw = raw
        start = self.spans[first][0] if first < len(self.spans) else 0
        del self.spans[first:]
        self._wrap_from(start)
        return first

    def _wrap_from(self, start: int) -> None:
        if not self.text:
            return
        while True:
            newline = self.text.find("\n", start)
            end = len(self.text) if newline < 0 else newline
            self._wrap_paragraph(start, end)
            if newline < 0:
                return
            start = newline + 1

    def _wrap_paragraph(self, start: int, end: int) -> None:
        """Fill lines with words. Spaces indent a paragraph or separate words; at a soft break they are dropped."""
        width, spans = self.width, self.spans
        line = here = start
        used = gap = 0
        begun = False
        for match in _ATOMS.finditer(self.text, start, end):
            atom, at = match.group(), match.start()
            cells = cell_len(atom)
            if atom.isspace():
                if at > start:
                    gap = cells
                elif cells < width:
                    here, used, begun = match.end(), cells, True
                continue
            if begun and used + gap + cells > width:
                spans.append((line, here))
                used, begun = 0, False
            if not begun:
                line, gap, begun = at, 0, True
            if cells > width:
                *full, atom = chop_cells(atom, width)
                for piece in full:
                    spans.append((line, line + len(piece)))
                    line += len(piece)
                cells = cell_len(atom)
            used += gap + cells
            here, gap = match.end(), 0
        spans.append((line, here))
