"""The statistics of the listed dataset as bars; Enter lists the pairs behind one.
Counting is store.curate.statistics' and engine.training.dataset_costs'; tui.statistics_lines makes the lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from store import datasets
from store.curate.statistics import DatasetStatistics, statistics
from store.db import Store
from store.errors import TuningforkError
from tui import formatting, keys
from tui.bars import bar, percent
from tui.bridge import Left
from tui.screens.base import PageScreen, show_errors
from tui.statistics_lines import StatisticsLine, cost_lines, lines
from tui.text import fit, one_line
from tui.widgets.empty_state import EmptyState
from tui.widgets.line_list import LineList

if TYPE_CHECKING:
    from engine.training.dataset_costs import DatasetCosts

_FIGURES = 14
"""Cells of a count and its share."""
_LABEL, _BAR = 48, 100


@dataclass(frozen=True, slots=True)
class _Tokens:
    """What is known of the tokens: their costs, or why they are not counted."""

    costs: DatasetCosts | None
    why: str = ""


class StatisticsPage(PageScreen[str]):
    """The search that lists the pairs of the chosen bar, or None."""

    PAGE = "statistics"
    CSS_PATH = "statistics_page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.STATISTICS)

    def __init__(self, dataset: str) -> None:
        super().__init__()
        self._dataset = dataset
        self._model = ""
        self._gone = False
        self._lines: list[StatisticsLine] = []
        self._tokens: list[StatisticsLine] = []
        self._status = ""

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", markup=False)
        yield LineList()
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(LineList).display = False
        self.query_one(EmptyState).say(f"Measuring {one_line(self._dataset, 30)} …", [("Esc", "stop")])
        self.measure()

    def on_unmount(self) -> None:
        self._gone = True

    def on_resize(self) -> None:
        """Bars are drawn for the width there is."""
        if self._lines:
            self._draw()

    @work(group="measure", exclusive=True)
    @show_errors
    async def measure(self) -> None:
        """Count the pairs, then their tokens where a model is ready for that."""
        try:
            found = await self.tuningfork.bridge.job(self._count)
        except Left:
            return
        name = one_line(self._dataset, 30)
        if not found.pairs:
            self.query_one(EmptyState).say(f"{name} has no pairs to measure.", [("Esc", "back to the pairs")])
            return
        self._lines = lines(found)
        self._status = f"{name}: {formatting.count(found.pairs, 'pair')}"
        self._draw()
        await self._measure_tokens()

    async def _measure_tokens(self) -> None:
        self._say("counting tokens …")
        try:
            found = await self.tuningfork.bridge.job(self._count_tokens, self._model)
        except Left:
            return
        self._tokens = cost_lines(found.costs) if found.costs else []
        self._say(found.why)
        self._draw()

    def _count(self, store: Store) -> DatasetStatistics:
        return statistics(datasets.members(store, self._dataset, status=None), self._go_on)

    def _count_tokens(self, store: Store, model: str) -> _Tokens:
        from engine.training.dataset_costs import costs, prepared_default
        from engine.training.recipes import DEFAULT, config_for

        self._go_on(0)
        named = model or prepared_default(store)
        if named is None:
            return _Tokens(None, "press m to count tokens of a model")
        try:
            found = costs(store, self._dataset, config_for(DEFAULT, named), self._prepared, self._go_on)
        except TuningforkError as error:
            return _Tokens(None, f"tokens are not counted: {error.what}")
        return _Tokens(found, "" if found else "no pair is ready to train on")

    def _prepared(self, line: str) -> None:
        self._go_on(0)
        self.app.call_from_thread(self._say, line)

    def _go_on(self, _done: int) -> None:
        if self._gone:
            raise Left

    def _say(self, what: str) -> None:
        if not self._gone:
            text = " · ".join(filter(None, [self._status, one_line(what, max(10, self.size.width - 40))]))
            self.query_one("#summary", Static).update(Content(text))

    def _draw(self) -> None:
        listed = self.query_one(LineList)
        shown = [*self._lines, *self._tokens]
        at = listed.highlighted or 0
        draw = _drawing(shown, self.size.width - 5)
        listed.clear_options()
        listed.add_options([Option(draw(line)) for line in shown])
        listed.highlighted = min(at, len(shown) - 1)
        if not listed.display:
            listed.display, self.query_one(EmptyState).display = True, False
            listed.focus()

    @on(LineList.OptionSelected)
    def _chosen(self, event: LineList.OptionSelected) -> None:
        line = [*self._lines, *self._tokens][event.option_index]
        if line.query is not None:
            self.dismiss(line.query)
        elif line.remark:
            self.tuningfork.notify("No pair has this form. Escape, then I, proposes some.")
        else:
            self.tuningfork.notify("No search finds the pairs of this line.")

    @work(group="model")
    @show_errors
    async def action_model(self) -> None:
        """Choose whose tokens are counted; the model is prepared first if that was never done."""
        from engine.models.default_model import NAME
        from tui.screens.dialogs.pick_model import pick_model

        chosen = await pick_model(self.tuningfork, "Count tokens of which model?", self._model or NAME, base_only=True)
        if chosen and self._lines:
            self._model = chosen
            await self._measure_tokens()

    def key_word(self, id: str) -> str | None:
        return "List pairs" if id == "lines.open" else super().key_word(id)

    def action_back(self) -> None:
        self.dismiss(None)


def _drawing(shown: list[StatisticsLine], width: int) -> Callable[[StatisticsLine], Content]:
    """How each line is drawn in so many cells: the bars of all of them begin in one column."""
    longest = max((len(line.text) + 2 for line in shown if line.kind == "bar"), default=0)
    label = max(12, min(longest + 2, _LABEL, width // 2))
    cells = max(4, min(_BAR, width - label - _FIGURES - 1))

    def draw(line: StatisticsLine) -> Content:
        if line.kind == "heading":
            return Content.styled(one_line(line.text, width), "bold $primary")
        if line.kind != "bar":
            return Content(f"{'! ' if line.kind == 'advice' else ''}{one_line(line.text, 400)}")
        name = "  " + fit(line.text if line.text.strip() else "(none)", label - 2)
        figures = f"{line.n:>8,} {percent(line.share):>4} "
        return Content.assemble(name, figures, (bar(line.share / line.full, cells), "$primary"), line.remark)

    return draw
