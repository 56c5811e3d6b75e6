"""The line above the pair table: the search field and the filters, each with the key that changes it.
Holds no query; the screen does."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Static

from store.query import BadQuery
from tui import keys
from tui.bridge import Bridge
from tui.screens.data import finder
from tui.screens.data.finder import Query
from tui.services import services
from tui.text import one_line
from tui.widgets.in_order import Field


class _Completion(Suggester):
    """Offers filters and their values; Right takes what is offered."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._bridge = bridge

    async def get_suggestion(self, value: str) -> str | None:
        return await self._bridge.call(finder.completion, value)


_SEARCH = 16
"""Cells that the search field keeps."""
_NAME_CELLS = (40, 20, 12, 8, 0)
"""Cells of a dataset's name, from the most that are shown to the fewest."""


class SearchField(Field):
    """The field itself; Down and Enter leave it for the list."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.SEARCH)

    class Left(Message):
        """The user goes to the results."""

    def on_mount(self) -> None:
        self.suggester = _Completion(services(self).bridge)

    def action_list(self) -> None:
        self.post_message(self.Left())


class FilterBar(Horizontal):
    """Search field and filters. Filters that are set are bold."""

    DEFAULT_CSS = """
    FilterBar {
        height: 1;
        & Input { width: 1fr; min-width: 16; }
        & Static { width: auto; height: 1; }
    }
    """

    def compose(self) -> ComposeResult:
        yield SearchField(placeholder="/ to search", compact=True, id="search")
        yield Static(id="limits", markup=False)

    _query: Query | None = None

    def show(self, query: Query) -> None:
        """Show what limits the list, in as many words as fit beside the search field: no filter is ever cut off."""
        self._query = query
        space = (self.size.width or self.screen.size.width) - _SEARCH
        fitting = (line for line in map(partial(_limits, query), _NAME_CELLS) if line.cell_length <= space)
        self.query_one("#limits", Static).update(next(fitting, _limits(query, 0)))

    def show_error(self, error: BadQuery) -> None:
        """Show what is wrong with the search text, in place of the limits."""
        self._query = None
        what = one_line(error.what, max(20, self.screen.size.width - 44))
        self.query_one("#limits", Static).update(Content.styled(f"  {what} ", "$text-error"))

    def on_resize(self) -> None:
        """The words are chosen for the width there is, once the layout of that width is done: a text that grows during
        it would keep its old width and be cut off."""
        if self._query is not None:
            self.call_after_refresh(self.show, self._query)


def _limits(query: Query, cells: int) -> Content:
    """The filters with a dataset's name in at most so many cells; below twelve, what is not set is one word."""
    few = cells < 12
    name = one_line(query.dataset, max(5, cells)) if query.dataset else "all" if few else "all pairs"
    return Content.assemble(
        *_limit("D", "dataset", name, query.dataset is not None),
        *_limit("t", "next_status", query.status or ("status" if few else "any status"), query.status is not None),
        *_limit("O", "next_kind", query.kind or ("kind" if few else "any kind"), query.kind is not None),
        " ",
    )


def _limit(key: str, action: str, text: str, on: bool) -> tuple[str | Content | tuple[str, str], ...]:
    label = Content.from_markup(f"[@click=screen.{action}]$text[/]", text=text)
    return "  ", (key, "bold $primary"), " ", label.stylize("bold" if on else "$faint")
