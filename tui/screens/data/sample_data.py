"""Loads the sample data: asks for a name and an author, imports, and offers the next step.
The data is ours (sample_data); names fill its placeholders."""

from __future__ import annotations

from dataclasses import dataclass

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Input, Static

from engine.core import sample_files
from store import importing
from store.db import Store
from store.errors import TuningforkError
from store.importing import ImportReport
from tui import formatting
from tui.screens.dialogs.base import Dialog, button, text
from tui.services import AppServices
from tui.text import clean, content
from tui.widgets.in_order import Field

DATASET = "identity"


@dataclass(frozen=True, slots=True)
class Samples:
    """What was loaded, and the name that was given."""

    name: str
    report: ImportReport


_MISSING = {
    "name": "Type a name: the sample data teaches the model to use it.",
    "author": "Type who made it, for example your own name: the sample data teaches the model to say so.",
}


class SamplesDialog(Dialog[Samples]):
    """Returns what was loaded; None when nothing was."""

    def __init__(self) -> None:
        super().__init__("Name your model")

    def compose_body(self) -> ComposeResult:
        settings = self.tuningfork.settings
        yield text("The sample data teaches the model a name and an author of your choice.")
        with Horizontal(classes="row"):
            yield Static("Name", classes="label")
            yield Field(clean(settings.name), compact=True, id="name", select_on_focus=True)
        with Horizontal(classes="row"):
            yield Static("Author", classes="label")
            yield Field(clean(settings.author), compact=True, id="author", select_on_focus=True)
        yield text("General questions are included, so that the model keeps what it knows.", "hint")

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button("Load", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#name").focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "name":
            self.query_one("#author").focus()
        else:
            self._load()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self._load()
        else:
            self.dismiss(None)

    @work(exclusive=True)
    async def _load(self) -> None:
        app = self.tuningfork
        values = {field: self.query_one(f"#{field}", Input).value.strip() for field in ("name", "author")}
        for field, value in values.items():
            if not value:
                self.query_one(f"#{field}").focus()
                self.query_one(".hint", Static).update(content(_MISSING[field]))
                return
        try:
            report = await app.bridge.job(load, values)
        except TuningforkError as error:
            app.show_error(error, "The sample data could not be loaded")
            return
        app.remember(**values)
        self.dismiss(Samples(values["name"], report))


class SamplesLoaded(Dialog[str]):
    """What was loaded, and what to do next: `train` or `look`."""

    def __init__(self, loaded: Samples) -> None:
        super().__init__("The sample data is loaded")
        self._loaded = loaded

    def compose_body(self) -> ComposeResult:
        report = self._loaded.report
        known = f" ({report.duplicates:,} were there already)" if report.duplicates else ""
        yield text(
            f"{formatting.count(report.kept + report.duplicates, 'pair')} are in the dataset {DATASET}{known}: "
            f"who {self._loaded.name} is, and general questions."
        )
        yield text("Next: tune a model on them (F3), then ask it who it is (F4).")

    def compose_buttons(self) -> ComposeResult:
        yield button("Look at the pairs", "look")
        yield button("Tune a model", "train", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#train").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id)


async def offer(app: AppServices) -> str | None:
    """Ask for the names, load, and ask what is next: `train`, or `dataset:NAME` to look at what was loaded; None when
    nothing was. Call it from a worker."""
    loaded = await app.push_screen_wait(SamplesDialog())
    if loaded is None:
        return None
    return "train" if await app.push_screen_wait(SamplesLoaded(loaded)) == "train" else f"dataset:{DATASET}"


def load(store: Store, values: dict[str, str]) -> ImportReport:
    """Import the identity pairs under these names, and the general questions, as one change that undo reverts."""
    paths = [sample_files.path("identity.json"), sample_files.path("general.jsonl")]
    return importing.import_files(store, paths, dataset=DATASET, variables=values)
