"""How metrics moved from evaluation to evaluation, as plots without colour; the newest series first.
Collecting and drawing are engine.evaluation.history's."""

from __future__ import annotations

from textual import work
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets.option_list import Option

from engine.evaluation import history
from engine.evaluation.history import HistorySeries
from tui.screens.base import PageScreen, show_errors
from tui.text import clean
from tui.widgets.empty_state import EmptyState
from tui.widgets.line_list import LineList

_MARGIN = 5


class HistoryPage(PageScreen[None]):
    """A plot for each set of rows that was asked: a line for each figure with its interval."""

    PAGE = "history"

    def __init__(self) -> None:
        super().__init__()
        self._found: list[HistorySeries] = []

    def compose_body(self) -> ComposeResult:
        yield LineList()
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(LineList).display = False
        self.query_one(EmptyState).say("Reading the evaluations …", [("Esc", "back")])
        self.read()

    def on_resize(self) -> None:
        """Plots are drawn for the width there is."""
        if self._found:
            self._draw()

    @work(group="read", exclusive=True)
    @show_errors
    async def read(self) -> None:
        """Collect the figures of every finished evaluation."""
        self._found = await self.tuningfork.bridge.call(history.history)
        if not self._found:
            self.query_one(EmptyState).say("No evaluation has ended yet.", [("Esc", "back")])
            return
        self._draw()
        listed = self.query_one(LineList)
        listed.display, self.query_one(EmptyState).display = True, False
        listed.focus()

    def _draw(self) -> None:
        listed, lines = self.query_one(LineList), list[Content]()
        at, width = listed.highlighted or 0, max(40, self.size.width - _MARGIN)
        for series in self._found:
            lines += [Content("")] if lines else []
            lines.append(Content.styled(clean(series.heading), "bold"))
            lines += [Content(clean(line)) for line in history.plot(series, width)]
        listed.clear_options()
        listed.add_options([Option(line) for line in lines])
        listed.highlighted = min(at, len(lines) - 1)

    def key_word(self, id: str) -> str | None:
        return "" if id == "lines.open" else super().key_word(id)

    def action_back(self) -> None:
        self.dismiss(None)
