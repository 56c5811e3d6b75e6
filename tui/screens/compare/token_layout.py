"""Where each token of an answer stands on the screen: lines of a width, and which token is at which place.
Pure; no widget, no colour, no model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

from tui.text import clean

_TAB, _BREAK = "    ", "↵"


@dataclass(frozen=True, slots=True)
class PlacedToken:
    """A piece of a token on one line: the token's number, the cell where it begins, and its text."""

    token: int
    x: int
    text: str

    @property
    def cells(self) -> int:
        return cell_len(self.text)


def shown(text: str) -> str:
    """A token's text as it is shown: a line break has a sign, and what would vanish is spelled.

    >>> shown("a\\n"), shown("\\x07"), shown("")
    ('a↵\\n', '\\\\u0007', '·')
    """
    visible = clean(text).replace("\t", _TAB).replace("\n", f"{_BREAK}\n")
    return visible or clean(json.dumps(text)[1:-1]) or "·"


def lay_out(texts: Sequence[str], width: int) -> list[list[PlacedToken]]:
    """The tokens as lines of at most `width` cells. Lines break where words end, and inside a word only where it is
    longer than a line.

    >>> [[placed.text for placed in line] for line in lay_out(["Go", " to", " the", " riv", "er"], 8)]
    [['Go', ' to'], [' the'], [' riv', 'er']]
    """
    width = max(2, width)  # the widest character must fit
    lines: list[list[PlacedToken]] = [[]]
    x = 0
    for word in _words([shown(text) for text in texts]):
        head = "".join(text for _, text in word).partition("\n")[0]
        if x and x + cell_len(head) > width:
            lines.append([])
            x = 0
        for token, text in word:
            for n, part in enumerate(text.split("\n")):
                if n:
                    lines.append([])
                    x = 0
                while part:
                    piece = _fitting(part, width - x)
                    if piece:
                        lines[-1].append(PlacedToken(token, x, piece))
                        x, part = x + cell_len(piece), part[len(piece) :]
                    if part:
                        lines.append([])
                        x = 0
    return lines if lines[-1] or len(lines) == 1 else lines[:-1]


def _words(texts: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    """Tokens that no line break should part, each with its number."""
    word: list[tuple[int, str]] = []
    for n, text in enumerate(texts):
        if word and _breaks(word[-1][1], text):
            yield word
            word = []
        word.append((n, text))
    if word:
        yield word


def _breaks(before: str, after: str) -> bool:
    """Whether a line may end between two tokens: at a space, and beside a character that is two cells wide."""
    wide = cell_len(before[-1:]) == 2 or cell_len(after[:1]) == 2
    return before[-1:].isspace() or after[:1].isspace() or wide


def _fitting(text: str, cells: int) -> str:
    """The longest beginning of `text` of at most so many cells."""
    if cell_len(text) <= cells:
        return text
    return chop_cells(text, cells)[0] if cells >= cell_len(text[0]) else ""


def token_at(lines: Sequence[Sequence[PlacedToken]], line: int, x: int) -> int | None:
    """The token at a cell of a line, or the last one before it; None on an empty line."""
    if not 0 <= line < len(lines) or not lines[line]:
        return None
    return next((placed.token for placed in reversed(lines[line]) if placed.x <= x), lines[line][0].token)


def place_of(lines: Sequence[Sequence[PlacedToken]], token: int) -> tuple[int, int]:
    """The line and the cell where a token begins."""
    found = ((n, placed.x) for n, line in enumerate(lines) for placed in line if placed.token == token)
    return next(found, (0, 0))
