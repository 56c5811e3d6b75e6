"""Export: make files of a run that other programs read, see them prove themselves, and what to type to use them.
The work is a process that engine.export.service starts; this screen asks for it, follows it and can cancel it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.events import ScreenResume
from textual.timer import Timer
from textual.widgets import OptionList

from engine.export import listing, service
from engine.export.service import Progress, Request
from store.errors import TuningforkError
from store.records import Export
from tui import formatting, keys
from tui.export_summary import Part, model_name, part_of, title
from tui.screens.base import ModeScreen, told
from tui.screens.dialogs.confirm import Confirm
from tui.screens.export import report
from tui.screens.export.export_form import ExportForm
from tui.screens.export.export_list import ExportList
from tui.screens.export.export_view import ExportView, ExportWork
from tui.screens.export.report import Offer
from tui.text import clean
from tui.widgets.empty_state import EmptyState

_TICK_S = 0.2
_SETTLE_S = 0.2
"""Seconds without a change before the choices are planned."""


@dataclass(slots=True)
class Job:
    """The export that this window makes. The thread that follows it writes `part`; the screen looks at it."""

    request: Request
    run: str
    cancel: threading.Event = field(default_factory=threading.Event)
    begun: float = field(default_factory=time.monotonic)
    part: Part | None = None

    def hear(self, progress: Progress) -> None:
        """Called in the thread."""
        self.part = part_of(self.request, progress)


class ExportScreen(ModeScreen):
    """Runs and their exports on the left; on the right what is chosen, what goes on, or what was made."""

    MODE = "export"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.EXPORT)

    def __init__(self) -> None:
        super().__init__()
        self.job: Job | None = None
        self._settling: Timer | None = None

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="export"):
            yield ExportList(id="made")
            yield ExportForm(id="form")
            yield ExportWork(id="work")
            yield ExportView(id="view")
        yield EmptyState(id="nothing")

    def on_mount(self) -> None:
        self.query_one("#nothing", EmptyState).say(
            "No run has anything to export yet.", [("F3", "tune a model; what it learnt can then be exported here")]
        )
        self.query_one("#export").display = False
        self.query_one("#nothing").display = False
        self.set_interval(_TICK_S, self._tick)
        self.tuningfork.runs_changed.subscribe(self, lambda _: self.reload())
        self._listed.focus()

    @on(ScreenResume)
    @work(group="sweep", exclusive=True)
    async def _resumed(self) -> None:
        if self.job is None:  # ours is alive
            await self.tuningfork.bridge.call(report.sweep)
        self.reload()

    def on_unmount(self) -> None:
        if self.job:
            self.job.cancel.set()

    def quit_notice(self) -> str | None:
        return f"The export of {self.job.run} is cancelled; nothing of it stays." if self.job else None

    # -- what the store knows -----------------------------------------------------------------------------------------

    @property
    def _listed(self) -> ExportList:
        return self.query_one(ExportList)

    @property
    def _view(self) -> ExportView:
        return self.query_one(ExportView)

    @work(group="exports", exclusive=True)
    async def reload(self) -> None:
        """The list, and what is under the cursor."""
        shelves = await self.tuningfork.bridge.call(report.shelves)
        self.query_one("#export").display = bool(shelves)
        self.query_one("#nothing").display = not shelves
        self._listed.show(shelves)
        await self._show()

    async def _show(self) -> None:
        """Show the right side that belongs to the cursor."""
        shelf, export = self._listed.shelf, self._listed.export
        if export is not None and (export.state != "working" or self.job is None):
            made = await self.tuningfork.bridge.call(report.made, export.id)
            if made is None or self._listed.export != export:
                return
            self._view.show(made)
        working = self.job is not None and shelf is not None and shelf.name == self.job.run
        if export is not None:
            working = working and export.state == "working"
        elif shelf is not None and not working:
            self.query_one(ExportForm).offer(shelf)
        self.query_one(ExportWork).display = working
        self._view.display = export is not None and not working
        self.query_one(ExportForm).display = export is None and not working and bool(shelf and shelf.run)
        self.refresh_bindings()

    @on(ExportList.Moved)
    @work(group="show", exclusive=True)
    async def _moved(self) -> None:
        await self._show()

    def _tick(self) -> None:
        """The progress of the job, a few times a second."""
        if self.job and self.is_current and self.query_one(ExportWork).display:
            self.query_one(ExportWork).show(self.job.run, self.job.part, time.monotonic() - self.job.begun)

    @on(OptionList.OptionSelected)
    def _entered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self._listed.export is not None:
            self._view.focus_commands()
        elif self.query_one(ExportForm).display:
            self.query_one(ExportForm).focus_start()  # so that Enter twice starts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self.app.is_running:  # its widgets are being taken away
            return False
        shelf, export = self._listed.shelf, self._listed.export
        match action:
            case "new":
                return bool(shelf and shelf.run) and (export is not None or self.job is None)
            case "start":
                return bool(shelf and shelf.run) and export is None and self.job is None
            case "cancel":
                return self.job is not None
            case "copy":
                return export is not None and self._view.command is not None
            case "copy_path":
                return export is not None and export.state in ("done", "rejected")
            case "compare":
                return export is not None and export.state == "done" and export.format in service.QUANTISED
            case "remove":
                return export is not None and export.state != "working"
        return True

    # -- a new export -------------------------------------------------------------------------------------------------

    @on(ExportForm.Changed)
    def _changed(self) -> None:
        if self._settling:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE_S, self.plan)

    @work(group="plan", exclusive=True)
    async def plan(self) -> None:
        """Find out how large it becomes and where it goes."""
        form = self.query_one(ExportForm)
        if not form.display:
            return
        try:
            form.show(await self._offer(form.request()))
        except TuningforkError as error:
            form.say_problem(str(error))

    async def _offer(self, request: Request) -> Offer:
        return await self.tuningfork.bridge.call(report.offer, request)

    def action_new(self) -> None:
        if self._listed.shelf:
            self._listed.go_to((self._listed.shelf.name, None))
            self.query_one("#format").focus()

    @on(ExportForm.Start)
    def _start_pressed(self) -> None:
        self.action_start()

    @work(group="start", exclusive=True)
    async def action_start(self) -> None:
        """Make what is chosen; ask before something is replaced."""
        shelf = self._listed.shelf
        if shelf is None:
            return
        if self.job is not None:
            self.tuningfork.tell(
                f"One at a time: {self.job.run} is being exported. s cancels that.", severity="warning"
            )
            return
        try:
            request = self.query_one(ExportForm).request()
            offer = await self._offer(request)
        except TuningforkError as error:
            self.tuningfork.show_error(error, "The export did not start")
            return
        taken = [planned for planned in offer.chosen if planned.taken]
        if taken:
            body = "\n".join(f"{planned.target.title} at {planned.path}" for planned in taken)
            if not await self.app.push_screen_wait(
                Confirm(f"Replace {formatting.count(len(taken), 'export')}?", body, "Replace")
            ):
                return
            request = replace(request, overwrite=True)
        self._make(request, shelf.name)

    @work(group="make")
    async def _make(self, request: Request, run: str) -> None:
        """Follow the process to its end; it is a thread's work, so everything else goes on."""
        self.job = job = Job(request, run)
        self._tick()
        self.reload()
        made: list[Export] = []
        try:
            made = await self.tuningfork.bridge.export(service.export, request, job.hear, job.cancel)
        except TuningforkError as error:
            if job.cancel.is_set():
                self.tuningfork.tell(f"The export of {run} was cancelled; nothing of it is left.")
            else:
                self.tuningfork.show_error(error, "The export failed")
        finally:
            self.job = None
        shelves = await self.tuningfork.bridge.call(report.shelves)
        watched = self.is_current and self._listed.shelf is not None and self._listed.shelf.name == run
        self._listed.show(shelves)
        if made and watched:
            self._listed.go_to((run, made[0].id))
        else:
            self._tell(made)
        self.reload()

    def _tell(self, made: list[Export]) -> None:
        for export in made:
            name = f"{model_name(export)}  {title(export)}"
            if export.state == "done":
                self.tuningfork.tell(f"{formatting.size(export.bytes or 0)}. Its proof held.", title=f"{name} is done")
            else:
                reason = (export.error or "Its proof failed.").splitlines()[0]
                self.tuningfork.tell(reason, title=f"{name}: {export.state}", severity="error", timeout=15)

    def action_cancel(self) -> None:
        """End the process; it takes what it began away."""
        if self.job and not self.job.cancel.is_set():
            self.job.cancel.set()
            self.tuningfork.tell("Cancelling …")

    # -- an export ----------------------------------------------------------------------------------------------------

    @on(ExportView.Taken)
    def _taken(self) -> None:
        self.action_copy()

    def action_copy(self) -> None:
        """Copy the command under the cursor."""
        if self._view.command:
            self._copy(self._view.command)

    def action_copy_path(self) -> None:
        """Copy where the export lies."""
        if self._view.made:
            self._copy(str(self._view.made.path))

    @work(group="copy")
    async def _copy(self, text: str) -> None:
        """To the clipboard, and for terminals that take no copies to the same file as in Compare."""
        self.app.copy_to_clipboard(clean(text))
        target = self.tuningfork.store.home.cache / "copied.txt"
        try:
            await self.tuningfork.bridge.file(target.write_text, text, "utf-8")
        except OSError:
            self.tuningfork.tell("Copied.")
            return
        self.tuningfork.tell("Copied; for a terminal that takes no copies it is also in cache/copied.txt of the home.")

    @work(group="act")
    async def action_compare(self) -> None:
        """Chat with the exported file beside the run it was made from."""
        made = self._view.made
        if made is None or made.gguf is None:
            self.tuningfork.tell("There is no GGUF file of the whole model in this export.", severity="warning")
            return
        await self.tuningfork.compare(made.beside, str(made.gguf))

    @work(group="act")
    @told
    async def action_remove(self) -> None:
        """Delete an export and its files, after asking."""
        export = self._listed.export
        made = await self.tuningfork.bridge.call(report.made, export.id) if export else None
        if export is None or made is None:
            return
        where = "\n".join(str(path) for path in made.files) or "No file of it is left."
        body = f"{formatting.size(made.bytes)} are deleted; the run stays.\n{where}"
        if await self.app.push_screen_wait(Confirm(f"Delete {model_name(export)}  {title(export)}?", body, "Delete")):
            await self.tuningfork.bridge.call(listing.remove, export.id)
            self.reload()
