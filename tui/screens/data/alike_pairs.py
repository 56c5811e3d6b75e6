"""More like this: the pairs that share the most words with one, each with what differs from it.
Reads only; how they are found is in store/alike.py."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from store import alike, datasets
from store.db import Store
from store.records import Pair
from tui import keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.data.pair_difference import PairDifference, difference
from tui.text import fit, one_line
from tui.widgets.empty_state import EmptyState
from tui.widgets.signs import STATUS_SIGN


class AlikePairs(PageScreen[None]):
    """The pairs of the whole store that are most like `pair`."""

    PAGE = "alike"
    CSS_PATH = "alike_pairs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.ALIKE)

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._like = pair
        self._found: list[tuple[Pair, float]] = []

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", markup=False)
        yield OptionList(compact=True, markup=False)
        yield PairDifference(can_focus=False)
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        self._show_parts(False)
        self.query_one(EmptyState).say("Looking for pairs like it …", [("Esc", "back")])
        self.reload()

    def _show_parts(self, found: bool) -> None:
        self.query_one(OptionList).display = self.query_one(PairDifference).display = found
        self.query_one(EmptyState).display = not found

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        if self._found:
            self._draw()

    @work(group="reload", exclusive=True)
    @show_errors
    async def reload(self) -> None:
        """Look again; the cursor stays where it is."""
        self._found = await self.tuningfork.bridge.job(alike.alike, self._like.uid)
        like = one_line(self._like.question, max(10, self.size.width - 40))
        self.query_one("#summary", Static).update(f"{len(self._found)} most like: {like}")
        self._show_parts(bool(self._found))
        if self._found:
            self._draw()
            self.query_one(OptionList).focus()
        else:
            self.query_one(EmptyState).say("No other pair shares a word with it.", [("Esc", "back to the pairs")])

    def _draw(self) -> None:
        options = self.query_one(OptionList)
        at, width = options.highlighted or 0, self.size.width - 5
        options.clear_options()
        options.add_options([Option(_line(pair, share, width)) for pair, share in self._found])
        options.highlighted = min(at, len(self._found) - 1)

    @on(OptionList.OptionHighlighted)
    def _moved(self) -> None:
        self._compare()

    @work(group="compare", exclusive=True)
    @show_errors
    async def _compare(self) -> None:
        """Show what differs between the pair under the cursor and the one that was asked for."""
        at = self.query_one(OptionList).highlighted
        if at is not None and at < len(self._found):
            page = await self.tuningfork.bridge.call(_compared, self._like, self._found[at][0])
            self.query_one(PairDifference).show(page)

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self.action_edit()

    @work(group="dialog")
    @show_errors
    async def action_edit(self) -> None:
        """Open the pair under the cursor."""
        from tui.screens.data.pair_editor import PairEditor

        at = self.query_one(OptionList).highlighted
        if at is not None and at < len(self._found):
            await self.app.push_screen_wait(PairEditor(self._found[at][0]))
            self.reload()

    def action_back(self) -> None:
        self.dismiss(None)


def _compared(store: Store, like: Pair, pair: Pair) -> Content:
    return difference(like, pair, datasets.of(store, pair.uid))


def _line(pair: Pair, share: float, width: int) -> Content:
    return Content.assemble(f"{share:.2f}  {STATUS_SIGN[pair.status]} ", fit(pair.question, max(10, width - 8)))
