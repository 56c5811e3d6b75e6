"""Imports rows from a file or data set: its path with completion, what is in it, the dataset, its placeholders.
The file is looked at while the form is filled; the import runs beside the screen and can be stopped until it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, ProgressBar, Static

from engine.hf_data.imports import import_data
from engine.hf_data.references import DataSetRef
from engine.hf_data.spooling import About
from store.db import Store
from store.errors import TuningforkError
from store.formats import FORMATS
from store.formats.mapped import read_mapping
from store.importing import ImportReport
from store.records import SPLITS
from tui import file_errors, formatting, import_report, keys
from tui.screens.base import PageScreen
from tui.screens.data import file_preview
from tui.screens.data.file_preview import Peek
from tui.screens.dialogs.base import button
from tui.text import clean, one_line
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field
from tui.widgets.path_field import PathField

_TYPING_S = 0.25


class Stopped(Exception):
    """The user stopped the import; its transaction is rolled back."""


class ImportScreen(PageScreen[str]):
    """Returns the name of the dataset that was filled; None when nothing was imported."""

    PAGE = "import"
    CSS_PATH = "import_dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.IMPORT)

    def __init__(self, dataset: str = "", path: str = "") -> None:
        super().__init__()
        self._dataset, self._path = dataset, path
        self._named = bool(dataset)
        self._peek: Peek | None = None
        self._stop = threading.Event()
        self._running_since = self._counting_since = 0.0
        self._counting = "rows"
        self._wrong = ("", "")
        """What the last look found wrong with the file, and what to do about it."""

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(id="form", can_focus=False):
            yield Static("Import a file", classes="title")
            yield from _row("File", PathField(self._complete, self._path, placeholder="~/data/pairs.jsonl", id="path"))
            formats = [("auto", "by its content"), *((name, name) for name in FORMATS)]
            splits = Choice("Split", [("", "its own, or train"), *((split, split) for split in SPLITS)], id="split")
            yield from _row("Format", Choice("", formats, id="format"), splits)
            yield from _row(
                "Dataset",
                Field(clean(self._dataset), placeholder="name; created if it is new", compact=True, id="dataset"),
            )
            named = "by their names; or question=Title,answer=Body"
            yield from _row("Columns", Field(placeholder=named, compact=True, id="columns"))
            statuses = Choice("Status", [("", "as it is"), ("draft", "draft")], id="as-draft")
            tags = Field(placeholder="for every pair, separated by spaces", compact=True, id="tags")
            yield from _row("Tags", tags, statuses)
            yield Vertical(id="variables")
            yield Static(id="look", markup=False)
            yield ProgressBar(id="progress", show_eta=True)
            yield Static(id="counted", markup=False)
            with Horizontal(classes="buttons"):
                yield button("Back", "back")
                yield button("Import", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#progress").display = False
        self.query_one("#path", PathField).focus()
        self._say_look(
            "JSON, JSON lines, CSV, TSV or Parquet, also compressed; a folder that is a Hugging Face data set, or "
            "hf:org/name. Nothing is written until you import."
        )
        if self._path:
            self._look(self._path)

    async def _complete(self, typed: str) -> list[str]:
        return await self.tuningfork.bridge.thread(file_preview.completions, typed)

    def working(self) -> str:
        if self._running_since:
            return "importing"
        looks = any(each.group == "look" and each.node is self and not each.is_finished for each in self.workers)
        return "reading the file" if looks else ""

    # -- looking into the file ----------------------------------------------------------------------------------------

    @on(PathField.Changed)
    def _path_typed(self, event: PathField.Changed) -> None:
        self._look(event.value, _TYPING_S)

    @on(Choice.Changed, "#format")
    def _format_changed(self) -> None:
        self._look(self.query_one("#path", PathField).value)

    @on(Input.Changed, "#columns")
    def _columns_typed(self) -> None:
        self._look(self.query_one("#path", PathField).value, _TYPING_S)

    @on(PathField.Submitted)
    def _path_entered(self) -> None:
        self.query_one("#dataset").focus()

    @work(group="look", exclusive=True)
    async def _look(self, path: str, wait: float = 0.0) -> None:
        await asyncio.sleep(wait)
        self._peek = None
        try:
            if not await self.tuningfork.bridge.thread(file_preview.is_looked_at, path):
                return
            if ref := file_preview.hub_data_set(path):
                self._say_hub(ref)
                return
            found = await self.tuningfork.bridge.thread(
                file_preview.peek,
                path,
                self.query_one("#format", Choice).value,
                self.query_one("#columns", Input).value,
            )
        except OSError as error:
            self._say_look(file_errors.sentence(error))
            return
        except TuningforkError as error:
            self._wrong = (error.what, await self._todo_of(path, error))
            self._say_look(*self._wrong)
            return
        self._peek = found
        if not self._named:
            self.query_one("#dataset", Input).value = one_line(file_preview.data_name(found.path), 60)
        await self._ask_for(found)
        self._show_look(found)

    def _say_hub(self, ref: DataSetRef) -> None:
        """A data set of the hub: nothing is fetched while its name is typed."""
        if not self._named:
            self.query_one("#dataset", Input).value = one_line(ref.short, 60)
        self._say_look(
            "A data set of the Hugging Face hub. It is fetched when you import it.",
            "Add @revision or :config to name one. Code of a data set is never run.",
        )

    async def _todo_of(self, path: str, error: TuningforkError) -> str:
        """What to do about an error of the file: name its columns, where it has some and none are named."""
        try:
            names = await self.tuningfork.bridge.thread(file_preview.columns, path)
        except (TuningforkError, OSError):
            names = []
        if not names or self.query_one("#columns", Input).value.strip():
            return error.todo or ""
        todo = f"Name them under Columns, such as question={names[0]},answer={names[min(1, len(names) - 1)]}."
        return todo if names[0] in error.what else f"{todo} It has: {', '.join(names)}"

    def _say_look(self, text: str, todo: str = "") -> None:
        parts = [Content(clean(text[:1].upper() + text[1:]))] + (
            [Content.styled(clean(todo), "$faint")] if todo else []
        )
        self.query_one("#look", Static).update(Content("\n").join(parts))

    def _show_look(self, found: Peek) -> None:
        n = import_report.sorts(found.pairs, found.preferences, found.feedback)
        head = Content.assemble((n if found.whole else f"more than {n}", "bold"), f", {found.format}")
        if found.problems:
            head += Content.styled(f", {formatting.count(found.problems, 'row')} that cannot be used", "$warning")
        lines = [head]
        width = max(20, self.size.width - 8)
        if found.about:
            splits = ", ".join(
                name if rows is None else f"{name} ({formatting.count(rows, 'row')})"
                for name, rows in found.about.splits.items()
            )
            lines.append(Content(one_line(f"A Hugging Face data set with the splits {splits}", width)))
        if found.problem:
            why = f"{found.problem.field}: {found.problem.what}" if found.problem.field else found.problem.what
            lines.append(Content.styled(one_line(f"Line {found.problem.line}: {why}", width), "$warning"))
        if found.unread:
            lines.append(Content.styled(one_line(import_report.not_read(found.unread), width), "$warning"))
        lines.append(Content(""))
        for question, answer in found.first:
            lines.append(Content.assemble(("Q ", "bold $primary"), one_line(question, width)))
            lines.append(Content.assemble(("A ", "$faint"), (one_line(answer, width), "$faint")))
        self.query_one("#look", Static).update(Content("\n").join(lines))

    async def _ask_for(self, found: Peek) -> None:
        """One field for each placeholder; a field that is there already keeps what was typed."""
        place = self.query_one("#variables", Vertical)
        if [field.name for field in place.query(Input)] == list(found.variables):
            return
        settings = self.tuningfork.settings
        known = {"name": settings.name, "author": settings.author}
        known |= {field.name or "": field.value for field in place.query(Input)}
        await place.remove_children()
        await place.mount(
            *(
                Horizontal(
                    Static(Content("{{" + name + "}}"), classes="label"),
                    Input(
                        known.get(name, ""),
                        name=name,
                        compact=True,
                        placeholder="its value in every row"
                        if name in found.fields
                        else "leave empty to keep it as text",
                    ),
                    classes="row",
                )
                for name in found.variables
            )
        )

    # -- importing ----------------------------------------------------------------------------------------------------

    @on(Input.Submitted)
    def _field_entered(self, event: Input.Submitted) -> None:
        self.focus_next()

    @on(Input.Changed, "#dataset")
    def _dataset_typed(self, event: Input.Changed) -> None:
        self._named = self._named or event.input.has_focus

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self.action_go()
        else:
            self.action_back()

    def action_back(self) -> None:
        """Close the list of paths, or stop the import, or go back."""
        if self._running_since:
            self._stop.set()
        elif not self.query_one("#path", PathField).hide():
            self.dismiss(None)

    def action_go(self) -> None:
        dataset = self.query_one("#dataset", Input).value.strip()
        if not self.query_one("#path", PathField).value.strip():
            self.query_one("#path", PathField).focus()
            self.tuningfork.notify("Which file? Type its path.", severity="warning")
        elif not dataset:
            self.query_one("#dataset").focus()
            self.tuningfork.notify("Into which dataset? Type a name.", severity="warning")
        elif not self._running_since:
            self._import(dataset)

    @work(group="import", exclusive=True)
    async def _import(self, dataset: str) -> None:
        path = self.query_one("#path", PathField).value
        chosen = self.query_one("#format", Choice).value
        split = self.query_one("#split", Choice).value or None
        variables = {
            field.name or "": field.value for field in self.query_one("#variables").query(Input) if field.value
        }
        self._begin()
        try:
            report = await self.tuningfork.bridge.job(
                _import, file_preview.source(path), dataset, chosen, variables, split, self._marks(), self._stop,
                self._progress, self._about, self._fetched,
            )  # fmt: skip
        except Stopped:
            self._end()
            self.tuningfork.notify("Stopped. Nothing was imported.")
        except TuningforkError as error:
            if error.what == self._wrong[0]:  # seen before the import, when the form could say what to type
                error.todo = self._wrong[1]
            self._end()
            self.tuningfork.show_error(error, "Nothing was imported")
        else:
            self._end()
            self._remember(variables)
            await self._show(report)
            self.dismiss(dataset)

    def _marks(self) -> dict[str, Any]:
        """What the form says of the columns, and of every pair. BadInput for a wrong mapping."""
        columns = self.query_one("#columns", Input).value
        return {
            "mapping": read_mapping([columns]) if columns.strip() else None,
            "tags": tuple(dict.fromkeys(self.query_one("#tags", Input).value.split())),
            "as_draft": bool(self.query_one("#as-draft", Choice).value),
        }

    def _begin(self) -> None:
        self._stop.clear()
        self._running_since = self._counting_since = time.monotonic()
        self._counting = "rows"
        total = None
        if self._peek:
            total = self._peek.about.total if self._peek.about else self._peek.rows if self._peek.whole else None
        bar = self.query_one("#progress", ProgressBar)
        bar.display = True
        bar.update(total=total, progress=0)
        counted = self.query_one("#counted", Static)
        counted.update(Content("Esc stops it; nothing is imported then."))
        self.call_after_refresh(counted.scroll_visible, animate=False)

    def _end(self) -> None:
        self._running_since = 0.0
        self.query_one("#progress").display = False
        self.query_one("#counted", Static).update("")

    def _progress(self, rows: int) -> None:
        """Called in the import's thread."""
        self.app.call_from_thread(self._show_progress, rows, "rows")

    def _fetched(self, rows: int) -> None:
        """Called in the import's thread, while a data set is read."""
        self.app.call_from_thread(self._show_progress, rows, "rows read")

    def _about(self, about: About) -> None:
        """Called in the import's thread, before a data set is read."""
        self.app.call_from_thread(self._show_about, about)

    def _show_about(self, about: About) -> None:
        if self._running_since:
            self.query_one("#progress", ProgressBar).update(total=about.total)
            self._say_look(import_report.beforehand(about))

    def _show_progress(self, rows: int, what: str) -> None:
        if self._running_since:
            if what != self._counting:
                self._counting, self._counting_since = what, time.monotonic()
            rate = rows / max(0.1, time.monotonic() - self._counting_since)
            self.query_one("#progress", ProgressBar).update(progress=rows)
            text = f"{rows:,} {what}, {rate:,.0f} per second. Esc stops it; nothing is imported then."
            self.query_one("#counted", Static).update(Content(text))

    def _remember(self, variables: dict[str, str]) -> None:
        names = {key: variables[key] for key in ("name", "author") if key in variables}
        if names:
            self.tuningfork.remember(**names)

    async def _show(self, report: ImportReport) -> None:
        done = f"{import_report.kept(report, 'new')} in {report.dataset}."
        remarks = import_report.remarks(report)
        if not report.rejected and not report.not_read and not report.notices:
            self.tuningfork.notify(" ".join([done, *remarks]))
            return
        from tui.screens.dialogs.notice import Notice

        lines = [done, *remarks]
        if report.rejected:
            lines += ["", f"{formatting.count(report.rejected, 'row')} could not be used:"]
            lines += [f"  {problem}" for problem in report.problems[:6]]
            lines += ["  …"] if report.rejected > 6 else []
        where = self.tuningfork.store.home.absolute(report.report) if report.report else ""
        title = "Imported, with rows left out" if report.rejected else "Imported"
        await self.app.push_screen_wait(Notice(title, "\n".join(lines), f"All of them: {where}" if where else ""))


def _import(
    store: Store,
    source: Path | DataSetRef,
    dataset: str,
    format: str,
    variables: dict[str, str],
    split: str | None,
    marks: dict[str, Any],
    stop: threading.Event,
    progress: Callable[[int], None],
    about: Callable[[About], None],
    fetched: Callable[[int], None],
) -> ImportReport:
    def unless_stopped(tell: Callable[[Any], None]) -> Callable[[Any], None]:
        def told(what: Any) -> None:
            if stop.is_set():
                raise Stopped
            tell(what)

        return told

    return import_data(
        store,
        [source],
        dataset=dataset,
        format="auto" if marks["mapping"] else format,
        variables=variables,
        split=split,
        on_about=unless_stopped(about),
        on_fetched=unless_stopped(fetched),
        on_progress=unless_stopped(progress),
        **marks,
    )


def _row(label: str, *fields: Widget) -> ComposeResult:
    with Horizontal(classes="row"):
        yield Static(label, classes="label", markup=False)
        yield from fields
