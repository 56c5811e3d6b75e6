"""Drawing in braille dots, eight to a cell, and scales of round numbers. Pure text: the app and the command line both
draw with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # row, column of a braille cell


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from `low` to `high` (1, 2 or 5 times a power of ten apart)."""
    if count < 1 or not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def label(value: float) -> str:
    """A scale's number in few cells: 0.05, 1.2, 340, 12k."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.3g}"


DASH = 4
"""Dots of a dash, and of the gap after it."""


class Canvas:
    """A grid of braille cells; coordinates in dots, the origin at the upper left. A `dashed` one leaves out every
    second stretch of DASH columns, so that its lines differ from others without a colour."""

    def __init__(self, width: int, height: int, *, dashed: bool = False) -> None:
        self.width, self.height, self._dashed = width, height, dashed
        self.cells = [[0] * width for _ in range(height)]

    def dot(self, x: int, y: int) -> None:
        if self._dashed and x // DASH % 2:
            return
        if 0 <= x < self.width * 2 and 0 <= y < self.height * 4:
            self.cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    def path(self, dots: Sequence[tuple[int, int]]) -> None:
        """Lines from each dot to the next; a single one is a dot."""
        for (x0, y0), (x1, y1) in zip(dots, dots[1:] or dots, strict=False):
            self.line(x0, y0, x1, y1)

    def line(self, x0: int, y0: int, x1: int, y1: int) -> None:
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for n in range(steps + 1):
            self.dot(round(x0 + (x1 - x0) * n / steps), round(y0 + (y1 - y0) * n / steps))

    def row(self, y: int) -> str:
        return "".join(map(cell, self.cells[y]))


def cell(bits: int) -> str:
    """The braille character with these dots; a space without any."""
    return chr(0x2800 + bits) if bits else " "


def graph(points: Sequence[tuple[float, float]], low: float, high: float, width: int, height: int) -> list[str]:
    """Points (x, y) joined by lines, as `height` rows of text and one with the numbers under the axis. The y axis goes
    from `low` to `high`, the x axis from the first point to the last; `width` is that of the plot in cells.

    >>> for row in graph([(0, 0.0), (1, 1.0)], 0, 1, 6, 2): print(row)
    1 ┤   ⣀⠔⠊
    0 ┤⡠⠔⠉
       0    1
    """
    first, span = points[0][0], (points[-1][0] - points[0][0]) or 1.0
    canvas = Canvas(width, height)
    dots = [
        (round((x - first) / span * (width * 2 - 1)), round((high - y) / (high - low) * (height * 4 - 1)))
        for x, y in points
    ]
    canvas.path(dots)
    names = {0: label(high), height - 1: label(low)}
    gutter = max(map(len, names.values()))
    rows = [f"{names.get(y, ''):>{gutter}} {'┤' if y in names else '│'}{canvas.row(y)}".rstrip() for y in range(height)]
    cells = [" "] * (width + len(label(points[-1][0])))
    taken = -1
    for x, _ in points:
        text, at = label(x), round((x - first) / span * (width - 1))
        if at > taken:
            cells[at : at + len(text)] = text
            taken = at + len(text)
    return [*rows, (" " * (gutter + 2) + "".join(cells)).rstrip()]
