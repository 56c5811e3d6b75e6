"""A line chart in braille dots: the loss of a run over its steps, with a scale of round numbers.
Draws with tui.braille; what is drawn is report.py's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from tui.braille import Canvas, label, ticks

Point = tuple[float, float]
_MARK = "◆"


class LossChart(Widget):
    """`show(train, val, steps)` draws the training loss as a line and the validation loss as diamonds."""

    DEFAULT_CSS = """
    LossChart {
        & .chart--line { color: $accent; }
        & .chart--mark { color: $secondary; text-style: bold; }
        & .chart--axis { color: $hairline; }
        & .chart--label { color: $faint; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"chart--line", "chart--axis", "chart--label", "chart--mark"}

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.train: list[Point] = []
        self.val: list[Point] = []
        self.steps: float = 1
        self._what = "loss"
        self._strips: list[list[Segment]] = []
        self._drawn: Size | None = None

    def show(
        self, train: Sequence[Point], val: Sequence[Point] = (), steps: float | None = None, name: str = "loss"
    ) -> None:
        """Points are (step, loss); those that are not finite are left out. `steps` is where the x axis ends, `name`
        what the points are where they are no loss."""
        self._what = name
        self.train = [p for p in train if math.isfinite(p[1])]
        self.val = [p for p in val if math.isfinite(p[1])]
        self.steps = max([1.0, *([steps] if steps else [p[0] for p in (*self.train, *self.val)])])
        self._drawn = None
        self.refresh()

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
        if not self.train and not self.val:
            words = f"The {self._what} appears here with the first step."
            return [[] for _ in range(height // 2)] + [[Segment(words.center(width)[:width], dim)]]
        low, high = self._range()
        marks = ticks(low, high, max(1, height // 3))
        gutter = max(len(label(m)) for m in marks) + 1
        plot_w, plot_h = width - gutter - 2, height - 2
        if plot_w < 4 or plot_h < 2:
            last = (self.train or self.val)[-1]
            return [[Segment(f"{self._what} {label(last[1])}"[:width], dim)]]
        return self._rows(low, high, marks, gutter, plot_w, plot_h)

    def _range(self) -> tuple[float, float]:
        values = [p[1] for p in (*self.train, *self.val)]
        low, high = min(values), max(values)
        if low >= 0 and low < 0.5 * high:
            low = 0.0
        if high <= low:
            high = low + (abs(low) or 1.0) * 0.1
        return low, high

    def _rows(self, low: float, high: float, marks: list[float], gutter: int, w: int, h: int) -> list[list[Segment]]:
        line = self.get_component_rich_style("chart--line")
        axis = self.get_component_rich_style("chart--axis")
        dim = self.get_component_rich_style("chart--label")

        def at(point: Point) -> tuple[int, int]:
            return round(point[0] / self.steps * (w * 2 - 1)), round((high - point[1]) / (high - low) * (h * 4 - 1))

        canvas = Canvas(w, h)
        dots = [at(p) for p in self.train]
        for (x0, y0), (x1, y1) in zip(dots, dots[1:] or dots, strict=False):
            canvas.line(x0, y0, x1, y1)
        diamonds = {(y // 4, x // 2) for x, y in map(at, self.val)}
        names = {min(h - 1, round((high - m) / (high - low) * (h - 1))): label(m) for m in marks}
        rows = []
        for y in range(h):
            name = names.get(y)
            edge = f"{name or '':>{gutter}} {'┤' if name else '│'}"
            rows.append([Segment(edge, dim if name else axis), *self._cells(canvas.row(y), y, diamonds, line)])
        rows.append([Segment(" " * (gutter + 1) + "└" + "─" * w, axis)])
        rows.append([Segment(" " * (gutter + 2) + self._x_labels(w), dim)])
        return rows

    def _cells(self, text: str, y: int, diamonds: set[tuple[int, int]], line: object) -> list[Segment]:
        mark = self.get_component_rich_style("chart--mark")
        segments, start = [], 0
        for x in sorted(x for row, x in diamonds if row == y and x < len(text)):
            segments += [Segment(text[start:x], line), Segment(_MARK, mark)]  # type: ignore[arg-type]
            start = x + 1
        segments.append(Segment(text[start:], line))  # type: ignore[arg-type]
        return segments

    def _x_labels(self, w: int) -> str:
        """Step numbers under the axis, the last one flush right, none touching another."""
        cells = [" "] * w
        end = label(self.steps)
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
