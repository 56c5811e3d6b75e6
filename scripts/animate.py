"""Draws what a terminal showed over time as one moving SVG, with nothing to load and no script.
The terminal itself is pyte's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import pyte
from rich.cells import cell_len

CELL_W, CELL_H, FONT = 8.4, 18, 14
FAMILY = "ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace"
FRAME_S = 0.35
"""Seconds that a frame is shown at least: what changes within them is one frame."""
LAST_S = 3.0
"""Seconds for which the last frame stays before it begins again."""
_PARTS = re.compile(r"\S+(?: \S+)*")
GROUND, TEXT = "#12151b", "#d8dbe2"
NAMED = {
    "black": "#12151b", "red": "#e0717a", "green": "#8fbf7f", "brown": "#e0a458", "blue": "#7fa6d6",
    "magenta": "#b48ead", "cyan": "#88c0d0", "white": "#d8dbe2",
}  # fmt: skip
"""pyte's names of the first eight colours."""


@dataclass(frozen=True, slots=True)
class Style:
    """How cells look; colours are those of SVG, None for the ground's and the text's own."""

    ink: str | None = None
    ground: str | None = None
    bold: bool = False
    italics: bool = False
    underscore: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring cells of one style: where they begin, how many they are, and their text."""

    start: int
    cells: int
    text: str
    style: Style


Row = tuple[Run, ...]


def svg(events: Sequence[tuple[float, str]], width: int, height: int) -> str:
    """A picture of `width` by `height` cells that plays what was written at which second, over and over."""
    shown = list(frames(events, width, height))
    total = (events[-1][0] if events else 0.0) + LAST_S
    rows = {row: f"r{n}" for n, row in enumerate(dict.fromkeys(row for _, page in shown for row in page if row))}
    styles = {style: f"s{n}" for n, style in enumerate(dict.fromkeys(run.style for row in rows for run in row))}
    page_h = height * CELL_H
    steps = "".join(
        f"{100 * at / total:.3f}%{{transform:translateY(-{n * page_h}px)}}" for n, (at, _) in enumerate(shown)
    )
    css = "".join(f".{name}{{{_css(style)}}}" for style, name in styles.items())
    drawn = "".join(
        f'<g id="{name}">{"".join(_run(run, styles[run.style]) for run in row)}</g>' for row, name in rows.items()
    )
    film = "".join(
        f'<use href="#{rows[row]}" y="{n * page_h + y * CELL_H}"/>'
        for n, (_, page) in enumerate(shown)
        for y, row in enumerate(page)
        if row
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * CELL_W:g} {page_h}">'
        f"<style>text{{font:{FONT}px {FAMILY};fill:{TEXT};white-space:pre}}"
        f".film{{animation:film {total:.1f}s step-end infinite}}@keyframes film{{{steps}}}{css}</style>"
        f'<rect width="100%" height="100%" fill="{GROUND}"/><defs>{drawn}</defs><g class="film">{film}</g></svg>\n'
    )


def frames(events: Sequence[tuple[float, str]], width: int, height: int) -> Iterator[tuple[float, tuple[Row, ...]]]:
    """The pages that differ from the one before, with the second from which each is shown; the first from 0.

    >>> [(at, page[0][0].text.strip()) for at, page in frames([(0.1, "a"), (0.2, "b"), (1.0, "c")], 8, 1)]
    [(0.0, 'ab'), (1.0, 'abc')]
    """
    screen = pyte.Screen(width, height)
    stream = pyte.Stream(screen)
    began, last = 0.0, None
    for at, text in [*events, (math.inf, "")]:
        if at - began >= FRAME_S:
            page = _page(screen)
            if page != last and any(page):
                yield began if last else 0.0, page
                last = page
            began = at
        stream.feed(text)


def _page(screen: pyte.Screen) -> tuple[Row, ...]:
    return tuple(_row(screen, y) for y in range(screen.lines))


def _row(screen: pyte.Screen, y: int) -> Row:
    """The runs of a line; what looks like the ground is left out. A wide character has an empty cell behind it."""
    line = screen.buffer[y]
    cells = [(x, line[x]) for x in range(screen.columns)]
    found = []
    for style, group in groupby(cells, key=lambda cell: _style(cell[1])):
        run = list(group)
        text = "".join(char.data for _, char in run)
        if text.strip() or style.ground or style.underscore:
            found.append(Run(run[0][0], len(run), text, style))
    return tuple(found)


def _style(char: pyte.screens.Char) -> Style:
    ink, ground = _colour(char.fg), _colour(char.bg)
    if char.reverse:
        ink, ground = ground or GROUND, ink or TEXT
    return Style(ink, None if ground == GROUND else ground, char.bold, char.italics, char.underscore)


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    return NAMED.get(name) or (f"#{name}" if len(name) == 6 else TEXT)


def _css(style: Style) -> str:
    parts = [f"fill:{style.ink}"] if style.ink else []
    parts += ["font-weight:bold"] if style.bold else []
    parts += ["font-style:italic"] if style.italics else []
    parts += ["text-decoration:underline"] if style.underscore else []
    return ";".join(parts)


def _run(run: Run, style: str) -> str:
    """A ground and the text on it; each part between gaps is as wide as its cells, whatever font a reader has."""
    x, drawn = run.start * CELL_W, ""
    if run.style.ground:
        drawn = f'<rect x="{x:g}" width="{run.cells * CELL_W:g}" height="{CELL_H}" fill="{run.style.ground}"/>'
    for part in _PARTS.finditer(run.text):
        before, cells = cell_len(run.text[: part.start()]), cell_len(part[0])
        drawn += (
            f'<text class="{style}" x="{x + before * CELL_W:g}" y="{CELL_H - 5}" textLength="{cells * CELL_W:g}"'
            f' lengthAdjust="spacingAndGlyphs">{escape(part[0], quote=False)}</text>'
        )
    return drawn
