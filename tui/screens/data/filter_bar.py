"""The line above the pair table: the search field and the filters, each with the key that changes it.
Holds no query; the screen does."""

from __future__ import annotations

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

    def show(self, query: Query) -> None:
        """Show what limits the list."""
        name = one_line(query.dataset, 20 if self.screen.size.width < 110 else 40) if query.dataset else "all pairs"
        limits = Content.assemble(
            *_limit("g", "dataset", name, query.dataset is not None),
            *_limit("s", "next_status", query.status or "any status", query.status is not None),
            *_limit("t", "next_kind", query.kind or "any kind", query.kind is not None),
            " ",
        )
        self.query_one("#limits", Static).update(limits)

    def show_error(self, error: BadQuery) -> None:
        """Show what is wrong with the search text, in place of the limits."""
        what = one_line(error.what, max(20, self.screen.size.width - 44))
        self.query_one("#limits", Static).update(Content.styled(f"  {what} ", "$text-error"))


def _limit(key: str, action: str, text: str, on: bool) -> tuple[str | Content | tuple[str, str], ...]:
    label = Content.from_markup(f"[@click=screen.{action}]$text[/]", text=text)
    return "  ", (key, "bold $primary"), " ", label.stylize("bold" if on else "$faint")
