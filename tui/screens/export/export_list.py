"""The runs that can be exported, and under each what was made of it.
It shows exports under their runs and reports the entry under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from store.records import Export
from tui import formatting
from tui.export_summary import SIGN, title
from tui.screens.export.report import RunExports
from tui.text import fit, one_line

Place = tuple[str, int | None]
"""A run by name, and the id of an export of it or None for the run itself."""


class ExportList(OptionList):
    """`show(run_exports)` keeps the cursor where it was, or on the run of an export that is gone."""

    DEFAULT_CSS = """
    ExportList {
        border: none;
        padding: 0;
        background: $background;
        scrollbar-size-vertical: 1;
        &:focus { border: none; }
        & > .option-list--option { padding: 0 1; }
    }
    """

    class Moved(Message):
        """The cursor is on something else."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.run_exports: list[RunExports] = []
        self._places: list[Place] = []
        self._prompts: list[Content] = []
        self._at: Place | None = None

    @property
    def listed_run(self) -> RunExports | None:
        """The run under the cursor, or the one whose export is."""
        return next(
            (listed_run for listed_run in self.run_exports if self._at and listed_run.name == self._at[0]), None
        )

    @property
    def export(self) -> Export | None:
        """The export under the cursor."""
        made = self.listed_run.exports if self.listed_run else ()
        return next((export for export in made if self._at and export.id == self._at[1]), None)

    def show(self, run_exports: Sequence[RunExports]) -> None:
        """List these."""
        self.run_exports = list(run_exports)
        self._places = [(s.name, id) for s in run_exports for id in (None, *(export.id for export in s.exports))]
        self._draw()
        if self._at not in self._places:
            run = (self._at[0], None) if self._at else None
            self._at = run if run in self._places else next(iter(self._places), None)
            self.post_message(self.Moved())
        if self._at is not None:
            self.highlighted = self._places.index(self._at)

    def go_to(self, place: Place) -> None:
        """Put the cursor there, if it is listed."""
        if place in self._places:
            self._at = place
            self.highlighted = self._places.index(place)
            self.post_message(self.Moved())

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        prompts = [
            line
            for listed_run in self.run_exports
            for line in (self._run(listed_run), *map(self._export, listed_run.exports))
        ]
        if prompts == self._prompts:
            return
        self._prompts = prompts
        with self.prevent(OptionList.OptionHighlighted):
            self.clear_options()
            self.add_options([Option(prompt) for prompt in prompts])
            if self._at in self._places:
                self.highlighted = self._places.index(self._at)

    @property
    def _room(self) -> int:
        return max(12, self.size.width - 3)

    def _run(self, listed_run: RunExports) -> Content:
        gone = "" if listed_run.run else "  run removed"
        name = one_line(listed_run.name, self._room - len(gone))
        return Content.assemble((name, "bold"), (gone, "$faint"))

    def _export(self, export: Export) -> Content:
        sign, style = SIGN[export.state]
        note = export.state if export.state != "done" else formatting.size(export.bytes or 0)
        name = title(export) + (f" @{export.step}" if export.step is not None else "")
        room = self._room - 4 - len(note) - 1
        if room < len(name):  # what it is comes first
            return Content.assemble("  ", (sign, style), " ", one_line(name, self._room - 4))
        return Content.assemble("  ", (sign, style), " ", fit(name, room), " ", (note, "$faint"))

    def on_option_list_option_highlighted(self, event: Any) -> None:
        event.stop()
        place = self._places[event.option_index] if event.option_index < len(self._places) else None
        if place is not None and place != self._at:
            self._at = place
            self.post_message(self.Moved())
