"""A list of lines that takes j, k, g and G beside the arrows, and says in the key bar what Enter does.
Knows nothing of what the lines are."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.widgets import OptionList

from tui import keys


class LineList(OptionList):
    """An OptionList without a border, its letters and its Enter declared in tui.keys."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.LINES)
    DEFAULT_CSS = """
    LineList { height: 1fr; border: none; padding: 0; scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, markup=False)
