"""The datasets at the left of a wide window: names and how many pairs of each are ready.
Shows what it is given; the screen acts on the choice."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from store.records import Dataset
from tui.text import fit

_WIDTH = 24


class DatasetList(OptionList):
    """The first row stands for all pairs."""

    DEFAULT_CSS = """
    DatasetList { scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, markup=False)
        self._names: list[str | None] = []
        self._shown: object = None

    def show(self, known: Sequence[Dataset], total: int, chosen: str | None) -> None:
        """List these; `chosen` is marked."""
        shown = (tuple(known), total, chosen)
        if shown == self._shown:
            return
        self._shown = shown
        self._names = [None, *(each.name for each in known)]
        with self.prevent(OptionList.OptionHighlighted):
            self.clear_options()
            self.add_options(
                [
                    _row("All pairs", total),
                    *(_row(each.name, each.pairs + each.preferences + each.feedback) for each in known),
                ]
            )
            self.highlighted = self._names.index(chosen) if chosen in self._names else 0

    def name_at(self, row: int) -> str | None:
        """The dataset of a row; None for all pairs."""
        return self._names[row] if row < len(self._names) else None


def _row(name: str, n: int) -> Option:
    number = f"{n:,}"
    return Option(Content.assemble(fit(name, _WIDTH - len(number) - 1), " ", (number, "$faint")))
