"""Cleans foreign text (data, model output, file names, errors) before it reaches the terminal.
Everything that was written outside this package passes `clean` before a widget sees it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from textual.content import Content

# C0 without newline and tab, DEL, C1, bidi overrides and isolates, and the byte order mark: all of them control a
# terminal or hide what is really there, none of them is text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_NEWLINES = re.compile("\r\n?|\u2028|\u2029|\x85|\x0b|\x0c")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"\s+")

LONGEST = 4_000
"""Characters of one field that a view lays out; wrapping a 200,000-character line takes half a second."""


def clean(text: str) -> str:
    """The text without characters that control the terminal; newlines and tabs stay, lone surrogates become U+FFFD."""
    text = _NEWLINES.sub("\n", text)
    return _SURROGATES.sub("\ufffd", _CONTROL.sub("", text))


def content(text: str, limit: int | None = None) -> Content:
    """Literal text for a Textual widget, never read as markup. `limit` clips as `clip` does."""
    from textual.content import Content

    return Content(clean(text) if limit is None else clip(text, limit))


def clip(text: str, limit: int = LONGEST) -> str:
    """Clean text of at most `limit` characters; what is left out is counted at the end."""
    if len(text) <= limit:
        return clean(text)
    return f"{clean(text[:limit])}… ({len(text) - limit:,} more characters)"


def one_line(text: str, width: int) -> str:
    """Clean text on one line of at most `width` cells, runs of white space as one space, `…` where it was cut."""
    if width <= 0:
        return ""
    head = text[: width * 4 + 64]
    line = _SPACES.sub(" ", clean(head)).strip()
    if len(head) == len(text) and cell_len(line) <= width:
        return line
    return f"{set_cell_size(line, width - 1).rstrip()}…" if cell_len(line) >= width else f"{line}…"


def tail(text: str, width: int) -> str:
    """Clean text on one line of at most `width` cells, with `…` for its beginning where it is longer: paths differ at
    their ends.

    >>> tail("/home/ada/data/pairs.jsonl", 18)
    '…/data/pairs.jsonl'
    """
    if width <= 0:
        return ""
    line = _SPACES.sub(" ", clean(text)).strip()
    if cell_len(line) <= width:
        return line
    end = line[-width:]
    while cell_len(end) >= width:
        end = end[1:]
    return f"…{end}"


def fit(text: str, width: int) -> str:
    """`one_line`, padded with spaces to exactly `width` cells."""
    return set_cell_size(one_line(text, width), width)
