"""Preferences and feedback: the list, a search field, and the whole row to read.
They are rows like pairs; store/preference_rows.py explains what they are."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from store import edits, preference_rows
from store.db import Store
from store.records import PreferenceRow
from tui import formatting, keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.data.filter_bar import SearchField
from tui.text import clip, fit, one_line
from tui.widgets.empty_state import EmptyState

_SHOWN = 1_000
"""Rows listed at most; searching finds the others."""


def _found(store: Store, text: str, dataset: str | None) -> list[PreferenceRow]:
    return preference_rows.search(store, text, dataset=dataset, limit=_SHOWN)


class PreferenceList(PageScreen[None]):
    """The preferences and feedback of one dataset, or of all."""

    PAGE = "preferences"
    CSS_PATH = "preferences.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PREFERENCES)

    def __init__(self, dataset: str | None) -> None:
        super().__init__()
        self._dataset = dataset
        self._rows: list[PreferenceRow] = []

    def compose_body(self) -> ComposeResult:
        yield SearchField(placeholder="/ to search", compact=True, id="search")
        with Vertical(id="judged"):
            yield OptionList(compact=True, markup=False)
            with VerticalScroll(id="preference"):
                yield Static(markup=False)
        yield EmptyState()

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(EmptyState).display = False
        self.query_one(OptionList).focus()
        self.reload()

    def on_resize(self) -> None:
        """Lines are laid out for the width there is."""
        if self._rows:
            self._draw()

    @work(group="reload", exclusive=True)
    @show_errors
    async def reload(self) -> None:
        text = self.query_one(SearchField).value
        self._rows = await self.tuningfork.bridge.call(_found, text, self._dataset)
        self._draw()
        empty = self.query_one(EmptyState)
        self.query_one("#judged").display, empty.display = bool(self._rows), not self._rows
        where = one_line(self._dataset, 30) if self._dataset else "the store"
        if text.strip():
            empty.say(f"No preference or feedback in {where} matches.", [("Esc", "clear the search")])
        else:
            empty.say(
                f"There is no preference or feedback in {where}.",
                [("Esc", "back to the pairs; import a file with chosen and rejected answers, or vote in Compare")],
            )

    def _draw(self) -> None:
        options = self.query_one(OptionList)
        at, width = options.highlighted or 0, self.size.width - 5
        options.clear_options()
        options.add_options([Option(_line(row, width)) for row in self._rows])
        options.highlighted = min(at, len(self._rows) - 1) if self._rows else None

    @on(OptionList.OptionHighlighted)
    def _show(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self._rows):
            self.query_one("#preference", VerticalScroll).scroll_home(animate=False)
            self.query_one("#preference Static", Static).update(_page(self._rows[event.option_index]))

    @on(Input.Changed, "#search")
    def _typed(self) -> None:
        self.reload()

    @on(Input.Submitted, "#search")
    @on(SearchField.Left)
    def _to_list(self) -> None:
        self.query_one(OptionList).focus()

    def action_search(self) -> None:
        self.query_one(SearchField).focus()

    @work(group="change")
    @show_errors
    async def action_remove(self) -> None:
        """Remove the row under the cursor; undo brings it back."""
        at = self.query_one(OptionList).highlighted
        if at is not None and at < len(self._rows):
            row = self._rows[at]
            await self.tuningfork.bridge.call(preference_rows.remove, [row.uid])
            self.tuningfork.notify(f"{row.kind.capitalize()} removed. Press u to undo.")
            self.reload()

    @work(group="change")
    @show_errors
    async def action_undo(self) -> None:
        edit = await self.tuningfork.bridge.call(edits.undo)
        self.tuningfork.notify(f"Undid: {formatting.edited(edit.label, edit.pairs)}." if edit else "Nothing to undo.")
        self.reload()

    def action_back(self) -> None:
        """Out of the search field or its text; then back to the pairs."""
        search = self.query_one(SearchField)
        if search.value:
            search.clear()
        elif search.has_focus and self._rows:
            self.query_one(OptionList).focus()
        else:
            self.dismiss(None)


def _sign(row: PreferenceRow) -> str:
    if row.kind == "preference":
        return "⇄"
    return "+" if row.chosen is not None else "-"


def _line(row: PreferenceRow, width: int) -> Content:
    """A row on one line: its sign, what was asked, its dataset."""
    note = one_line(f"{row.kind}  {row.dataset or 'in no dataset'}", width // 2)
    asked = fit(row.prompt[-1]["content"], max(10, width - len(note) - 4))
    return Content.assemble(f"{_sign(row)} ", asked, "  ", (note, "$faint"))


def _page(row: PreferenceRow) -> Content:
    """All of a row: where it belongs, the prompt, the answers."""
    facts = [row.kind, row.dataset or "in no dataset", row.split, f"uid {row.uid}"]
    if "file" in row.source:
        facts.append(f"from {row.source['file']}:{row.source.get('line', '')}")
    parts = [Content.styled(" · ".join(one_line(str(fact), 40) for fact in facts), "$faint"), Content("")]
    titles = {"system": "System", "user": "Question", "assistant": "Earlier answer"}
    texts: list[tuple[str, str]] = [(titles[message["role"]], message["content"]) for message in row.prompt]
    texts += [
        (title, text) for title, text in (("Good answer", row.chosen or ""), ("Bad answer", row.rejected or "")) if text
    ]
    for title, text in texts:
        parts += [Content.styled(title, "bold $primary"), Content(clip(text)), Content("")]
    return Content("\n").join(parts)
