"""A line chart in braille dots: the loss of a run over its steps, or of two, with a scale of round numbers.
Draws with tui.braille; what is drawn is report.py's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from tui.braille import Canvas, cell, label, ticks

Point = tuple[float, float]
_MARK, _OTHER_MARK = "◆", "◇"


class LossChart(Widget):
    """`show(train, val, steps)` draws the training loss as a line and the validation loss as diamonds; `other` and
    `other_val` are those of a second run, drawn dashed, in another colour and as empty diamonds."""

    DEFAULT_CSS = """
    LossChart {
        & .chart--line { color: $accent; }
        & .chart--mark { color: $secondary; text-style: bold; }
        & .chart--other { color: $warning; }
        & .chart--axis { color: $hairline; }
        & .chart--label { color: $faint; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chart--line", "chart--axis", "chart--label", "chart--mark", "chart--other",
    }  # fmt: skip

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.train: list[Point] = []
        self.val: list[Point] = []
        self.other: list[Point] = []
        self.other_val: list[Point] = []
        self.steps: float = 1
        self._what, self._unit = "loss", ""
        self._strips: list[list[Segment]] = []
        self._drawn: Size | None = None

    def show(
        self,
        train: Sequence[Point],
        val: Sequence[Point] = (),
        steps: float | None = None,
        name: str = "loss",
        *,
        other: Sequence[Point] = (),
        other_val: Sequence[Point] = (),
        unit: str = "",
    ) -> None:
        """Points are (step, loss); those that are not finite are left out. `steps` is where the x axis ends, `name`
        what the points are where they are no loss, `unit` what the x axis counts where that is no steps."""
        self._what, self._unit = name, unit
        self.train, self.val, self.other, self.other_val = (
            [p for p in points if math.isfinite(p[1])] for points in (train, val, other, other_val)
        )
        self.steps = max([1.0, *([steps] if steps else [p[0] for p in self._points])])
        self._drawn = None
        self.refresh()

    @property
    def _points(self) -> list[Point]:
        return [*self.train, *self.val, *self.other, *self.other_val]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn = None

    def render_line(self, y: int) -> Strip:
        if self._drawn != self.size:
            self._strips, self._drawn = self._draw(self.size.width, self.size.height), self.size
        segments = self._strips[y] if y < len(self._strips) else []
        return Strip(segments).extend_cell_length(self.size.width, self.rich_style).crop(0, self.size.width)

    # -- drawing ------------------------------------------------------------------------------------------------------

    def _draw(self, width: int, height: int) -> list[list[Segment]]:
        dim = self.get_component_rich_style("chart--label")
        if not self._points:
            words = f"The {self._what} appears here with the first step."
            return [[] for _ in range(height // 2)] + [[Segment(words.center(width)[:width], dim)]]
        low, high = self._range()
        marks = ticks(low, high, max(1, height // 3))
        gutter = max(len(label(m)) for m in marks) + 1
        plot_w, plot_h = width - gutter - 2, height - 2
        if plot_w < 4 or plot_h < 2:
            last = (self.train or self.val or self._points)[-1]
            return [[Segment(f"{self._what} {label(last[1])}"[:width], dim)]]
        return self._rows(low, high, marks, gutter, plot_w, plot_h)

    def _range(self) -> tuple[float, float]:
        values = [p[1] for p in self._points]
        low, high = min(values), max(values)
        if low >= 0 and low < 0.5 * high:
            low = 0.0
        if high <= low:
            high = low + (abs(low) or 1.0) * 0.1
        return low, high

    def _rows(self, low: float, high: float, marks: list[float], gutter: int, w: int, h: int) -> list[list[Segment]]:
        axis = self.get_component_rich_style("chart--axis")
        dim = self.get_component_rich_style("chart--label")

        def at(point: Point) -> tuple[int, int]:
            return round(point[0] / self.steps * (w * 2 - 1)), round((high - point[1]) / (high - low) * (h * 4 - 1))

        canvas, other = Canvas(w, h), Canvas(w, h, dashed=len(self.other) > 1)
        canvas.path([at(p) for p in self.train])
        other.path([at(p) for p in self.other])
        diamonds = {(y // 4, x // 2): _OTHER_MARK for x, y in map(at, self.other_val)}
        diamonds |= {(y // 4, x // 2): _MARK for x, y in map(at, self.val)}
        names = {min(h - 1, round((high - m) / (high - low) * (h - 1))): label(m) for m in marks}
        rows = []
        for y in range(h):
            name = names.get(y)
            edge = f"{name or '':>{gutter}} {'┤' if name else '│'}"
            marks_here = {x: mark for (row, x), mark in diamonds.items() if row == y}
            cells = self._cells(canvas.cells[y], other.cells[y], marks_here)
            rows.append([Segment(edge, dim if name else axis), *cells])
        rows.append([Segment(" " * (gutter + 1) + "└" + "─" * w, axis)])
        rows.append([Segment(" " * (gutter + 2) + self._x_labels(w), dim)])
        return rows

    def _cells(self, mine: Sequence[int], other: Sequence[int], marks: Mapping[int, str]) -> list[Segment]:
        """One row of the plot. A cell with dots of both runs shows them all, in the colour of the first."""
        line, dashed = (self.get_component_rich_style(f"chart--{name}") for name in ("line", "other"))
        full = self.get_component_rich_style("chart--mark")
        styles = {_MARK: full, _OTHER_MARK: dashed}
        cells = [
            (marks[x], styles[marks[x]]) if x in marks else (cell(a | b), dashed if b and not a else line)
            for x, (a, b) in enumerate(zip(mine, other, strict=True))
        ]
        return [
            Segment("".join(text for text, _ in group), style)
            for style, group in groupby(cells, key=lambda each: each[1])
        ]

    def _x_labels(self, w: int) -> str:
        """Step numbers under the axis, the last one flush right, none touching another."""
        cells = [" "] * w
        end = label(self.steps) + (f" {self._unit}" if self._unit else "")
        last = w - len(end)
        spots = []
        for value in ticks(0, self.steps, max(1, w // 14)):
            text = label(value)
            x = round(value / self.steps * (w - 1)) - len(text) // 2
            spots.append((max(0, x), text))
        cells[last:] = end
        taken = last
        for x, text in sorted(spots, reverse=True):
            if x + len(text) + 1 < taken:
                cells[x : x + len(text)] = text
                taken = x
        return "".join(cells)[:w]
