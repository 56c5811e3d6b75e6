"""Picks one of many by typing part of it; can offer to create what was typed.
A list and a filter; it knows nothing of what the entries mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from tui import keys
from tui.screens.dialogs.base import Dialog, text
from tui.text import clean, fit, one_line
from tui.widgets.in_order import Field

_WIDTH = 52
"""Cells of a row inside the box."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One choice: the value that is returned, its label, and a note at the right."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picked:
    """The answer. `new`: `value` is the name of something to create."""

    value: str
    new: bool = False


class Pick(Dialog[Picked]):
    """`create` is shown before a typed name that is no entry yet, as in `Create dataset`; empty allows none."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.BACK, keys.PICK)

    def __init__(
        self, title: str, entries: Sequence[Entry], *, current: str = "", create: str = "", hint: str = ""
    ) -> None:
        super().__init__(title)
        self._entries, self._current, self._create, self._hint = list(entries), current, create, hint
        self._listed: list[Picked] = []

    def compose_body(self) -> ComposeResult:
        yield Field(placeholder="Type to filter" + (", or type a new name" if self._create else ""), compact=True)
        yield OptionList(compact=True, markup=False)
        if self._hint:
            yield text(self._hint, "hint")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self._list("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._list(event.value)

    def on_input_submitted(self) -> None:
        """Enter, after the letters typed before it: as a priority binding it would overtake them."""
        at = self.query_one(OptionList).highlighted
        if at is not None and self._listed:
            self.dismiss(self._listed[at])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._listed[event.option_index])

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        options.highlighted = (
            max(0, min(len(self._listed) - 1, (options.highlighted or 0) + by)) if self._listed else None
        )

    def _list(self, typed: str) -> None:
        """Entries that hold every typed word, best first; then the new one."""
        typed = typed.strip()
        words = typed.casefold().split()
        hits = [e for e in self._entries if all(word in e.label.casefold() for word in words)]
        hits.sort(key=lambda e: not e.label.casefold().startswith(typed.casefold()) if typed else False)
        rows: list[tuple[Picked, Content]] = [(Picked(e.value), self._row(e)) for e in hits]
        if self._create and typed and all(typed != e.label for e in self._entries):
            rows.append(
                (Picked(typed, new=True), Content(f"{self._create} “{one_line(clean(typed), 30)}”").stylize("bold"))
            )
        self._listed = [picked for picked, _ in rows]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(content) for _, content in rows])
        if rows:
            wanted = next((n for n, (p, _) in enumerate(rows) if not typed and p.value == self._current), 0)
            options.highlighted = wanted

    def _row(self, entry: Entry) -> Content:
        note = one_line(entry.note, 24)
        width = _WIDTH - 2 - cell_len(note)
        return Content.assemble(fit(entry.label, width), "  ", (note, "$faint"))
