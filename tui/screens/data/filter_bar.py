"""The line above the pair table: the search field and the filters, each with the key that changes it.
Holds no query; the screen does."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui import keys
from tui.screens.data.finder import Query
from tui.text import one_line
from tui.widgets.in_order import Field


class SearchField(Field):
    """The field itself; Down and Enter leave it for the list."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.SEARCH)

    class Left(Message):
        """The user goes to the results."""

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


def _limit(key: str, action: str, text: str, on: bool) -> tuple[str | Content | tuple[str, str], ...]:
    label = Content.from_markup(f"[@click=screen.{action}]$text[/]", text=text)
    return "  ", (key, "bold $primary"), " ", label.stylize("bold" if on else "$faint")
