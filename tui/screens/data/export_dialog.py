"""Writes a dataset's ready pairs (or its preferences or feedback) to a file in one of the formats.
Asks where; a file that is there already is overwritten only after a question."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from textual import on, work
from textual.app import ComposeResult
from textual.widgets import Button, Input

from store import importing
from store.errors import Conflict, TuningforkError
from store.formats import FORMATS, find_format
from store.records import SPLITS, Split
from tui import formatting, import_report
from tui.screens.data import file_preview
from tui.screens.dialogs.base import Dialog, button, text
from tui.text import clean
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field


class ExportDialog(Dialog[str]):
    """The path that was written; None when nothing was."""

    def __init__(self, dataset: str) -> None:
        super().__init__(f"Write {dataset} to a file")
        self._dataset = dataset

    def compose_body(self) -> ComposeResult:
        yield text("Its ready pairs, in a format that other programs read; or its preferences or feedback.")
        yield Choice("Format", [(name, name) for name in FORMATS], id="format")
        yield Choice("Split", [("", "all"), *((split, split) for split in SPLITS)], id="split")
        yield text("Path", "caption")
        stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in clean(self._dataset)) or "pairs"
        yield Field(f"{stem}.jsonl", compact=True, select_on_focus=False)

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button("Write", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Input).focus()

    @on(Choice.Changed, "#format")
    def _format_changed(self, event: Choice.Changed) -> None:
        """Give the name the suffix of its format, unless that fits already."""
        field, suffixes = self.query_one(Input), FORMATS[event.value].suffixes
        if Path(field.value).suffix.lower() not in suffixes and field.value:
            field.value = str(Path(field.value).with_suffix(".jsonl" if ".jsonl" in suffixes else suffixes[0]))

    def on_input_submitted(self) -> None:
        self._write()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self._write()
        else:
            self.dismiss(None)

    @work(exclusive=True)
    async def _write(self, overwrite: bool = False) -> None:
        from tui.screens.dialogs.confirm import Confirm

        app = self.tuningfork
        try:
            path = file_preview.expand(self.query_one(Input).value).absolute()
            format = self.query_one("#format", Choice).value
            split = cast(Split | None, self.query_one("#split", Choice).value or None)
            n = await app.bridge.job(importing.export_dataset, self._dataset, format, path, overwrite, split)
            left = await app.bridge.call(importing.left_out, self._dataset, format)
        except Conflict:
            sure = Confirm("Overwrite the file?", f"{path} exists already.", "Overwrite")
            if await app.push_screen_wait(sure):
                self._write(overwrite=True)
        except TuningforkError as error:
            app.show_error(error, "Nothing was written")
        else:
            noun = import_report.NOUNS[find_format(format).holds]
            others = [
                f"{formatting.count(count, import_report.NOUNS[sort])} not written." for sort, count in left.items()
            ]
            app.notify(" ".join([f"{formatting.count(n, noun)} written to {path}.", *others]), timeout=8)
            self.dismiss(str(path))
