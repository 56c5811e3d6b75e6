"""Export: turn a run into files for other programs, see their verification, and the commands to use them.
The work is a background job (engine.export.service); this screen starts, shows and cancels those of any terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.events import ScreenResume
from textual.timer import Timer
from textual.widgets import OptionList

from engine.core import jobs
from engine.export import listing, service, targets
from engine.export.service import Request
from engine.job_list import JobView
from store.errors import BadInput, TuningforkError
from store.records import Export, Job
from tui import formatting, keys
from tui.export_summary import message, model_name, sending, title
from tui.screens.base import ModeScreen, show_errors
from tui.screens.dialogs.ask import Ask
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.notice import Notice
from tui.screens.dialogs.pick import Entry, Pick
from tui.screens.export import report
from tui.screens.export.export_form import ExportForm
from tui.screens.export.export_list import ExportList
from tui.screens.export.export_view import ExportView, ExportWork
from tui.screens.export.report import Offer
from tui.widgets.empty_state import EmptyState

_TICK_S = 0.5
_SETTLE_S = 0.2
"""Seconds without a change before the choices are planned."""


_REPO = "The repository on the Hugging Face hub, such as northwind/ember-1-gguf. It is created unless it exists."
_READERS = (Entry("private", "only you: private"), Entry("public", "everyone: public"))


class ExportScreen(ModeScreen):
    """Runs and their exports on the left; on the right the choices, the job that works, or what was made."""

    MODE = "export"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.EXPORT)

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[JobView] = []
        self._mine: set[str] = set()
        self._settling: Timer | None = None
        self._planned = True
        """Whether sizes and place shown are of what the form holds."""
        self._sending = ""
        """The repository that an export is being sent to."""

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="export"):
            yield ExportList(id="made")
            yield ExportForm(id="form")
            yield ExportWork(id="work")
            yield ExportView(id="view")
        yield EmptyState(id="nothing")

    def on_mount(self) -> None:
        self.query_one("#nothing", EmptyState).say(
            "No run has anything to export yet.", [("F3", "Tune a model, then export it here")]
        )
        self.query_one("#export").display = False
        self.query_one("#nothing").display = False
        self.set_interval(_TICK_S, self._tick)
        self.tuningfork.runs_changed.subscribe(self, lambda _: self.reload())
        self.tuningfork.live_changed.subscribe(self, lambda _: self._jobs_changed())
        self._jobs_changed()
        self._listed.focus()

    @on(ScreenResume)
    @work(group="sweep", exclusive=True)
    async def _resumed(self) -> None:
        await self.tuningfork.bridge.call(report.sweep)
        self.reload()

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
        run_exports, self.jobs = await self.tuningfork.bridge.call(report.overview)
        self.query_one("#export").display = bool(run_exports)
        self.query_one("#nothing").display = not run_exports
        self._listed.show(run_exports)
        await self._show()

    async def open_with(self, run: str, step: int | None) -> None:
        """Show the choices for a run, with one of its steps chosen."""
        run_exports, self.jobs = await self.tuningfork.bridge.call(report.overview)
        self.query_one("#export").display = bool(run_exports)
        self.query_one("#nothing").display = not run_exports
        self._listed.show(run_exports)
        self._listed.go_to((run, None))
        await self._show()
        if self.job is not None:
            self.tuningfork.notify(f"{run} is being exported; its step can be chosen when that has ended.")
            return
        self.query_one(ExportForm).choose_step(step)
        self.query_one(ExportForm).focus_start()

    async def _show(self) -> None:
        """Show the right side that belongs to the cursor."""
        listed_run, export = self._listed.listed_run, self._listed.export
        job = self.job
        working = job is not None and (export is None or export.state == "working")
        if export is not None and not working:
            made = await self.tuningfork.bridge.call(report.made, export.id)
            if made is None or self._listed.export != export:
                return
            self._view.show(made)
        if export is None and listed_run is not None and not working:
            self.query_one(ExportForm).offer(listed_run)
        if working and job is not None:
            self.query_one(ExportWork).show(job)
        self.query_one(ExportWork).display = working
        self._view.display = export is not None and not working
        self.query_one(ExportForm).display = export is None and not working and bool(listed_run and listed_run.run)
        self.refresh_bindings()

    @on(ExportList.Moved)
    @work(group="show", exclusive=True)
    async def _moved(self) -> None:
        await self._show()

    @property
    def job(self) -> JobView | None:
        """The export of the run under the cursor that is being made or waits, by whichever terminal it was started."""
        name = self._listed.listed_run.name if self._listed.listed_run else None
        return next((job for job in self.jobs if job.name == name), None)

    def _jobs_changed(self) -> None:
        """The app has looked at the jobs again."""
        before = [job.ref for job in self.jobs]
        self.jobs = [job for job in self.tuningfork.live.jobs if job.kind == service.KIND]
        if before != [job.ref for job in self.jobs]:
            self._moved()
        else:
            self._tick()

    def _tick(self) -> None:
        """The progress of the job, and its seconds."""
        job = self.job
        if job is not None and self.is_current and self.query_one(ExportWork).display:
            self.query_one(ExportWork).show(job)

    @on(OptionList.OptionSelected)
    def _entered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self._listed.export is not None:
            self._view.focus_commands()
        elif self.query_one(ExportForm).display:
            self.query_one(ExportForm).focus_start()  # so that Enter twice starts

    def working(self) -> str:
        return "sending" if self._sending else "" if self._planned else "planning"

    def quit_notice(self) -> str | None:
        return f"Sending to huggingface.co/{self._sending} breaks off." if self._sending else None

    def can_act(self, action: str) -> bool:
        listed_run, export = self._listed.listed_run, self._listed.export
        match action:
            case "new":
                return bool(listed_run and listed_run.run) and (export is not None or self.job is None)
            case "start":
                return bool(listed_run and listed_run.run) and export is None and self.job is None
            case "cancel":
                return self.job is not None
            case "copy":
                return export is not None and self._view.command is not None
            case "push":
                return export is not None and export.state in ("done", "rejected") and not self._sending
            case "copy_path":
                return export is not None and export.state in ("done", "rejected")
            case "compare":
                return export is not None and export.state == "done" and targets.is_whole_gguf(export.format)
            case "remove":
                return export is not None and export.state != "working"
        return True

    # -- a new export -------------------------------------------------------------------------------------------------

    @on(ExportForm.Changed)
    def _changed(self) -> None:
        if self._settling:
            self._settling.stop()
        self._planned = False
        self._settling = self.set_timer(_SETTLE_S, self.plan)

    @work(group="plan", exclusive=True)
    async def plan(self) -> None:
        """Find out how large it becomes and where it goes."""
        form = self.query_one(ExportForm)
        if form.display:
            try:
                form.show(await self._offer(form.request()))
            except TuningforkError as error:
                form.say_problem(str(error))
        self._planned = True

    async def _offer(self, request: Request) -> Offer:
        return await self.tuningfork.bridge.call(report.offer, request)

    def action_new(self) -> None:
        if self._listed.listed_run:
            self._listed.go_to((self._listed.listed_run.name, None))
            self.query_one("#format").focus()

    @on(ExportForm.Start)
    def _start_pressed(self) -> None:
        self.action_start()

    @work(group="start", exclusive=True)
    async def action_start(self) -> None:
        """Start the export; ask before something is replaced."""
        listed_run = self._listed.listed_run
        if listed_run is None:
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
        try:
            self.jobs = await self.tuningfork.bridge.call(report.submit, request)
        except TuningforkError as error:
            self.tuningfork.show_error(error, "The export did not start")
            return
        self._mine.add(self.jobs[-1].ref)
        self.reload()

    async def job_ended(self, job: Job, made: list[Export]) -> bool:
        """Show the end of an export's job; whether that was done here, so that no notice is needed."""
        if job.kind != service.KIND:
            return False
        run_exports, self.jobs = await self.tuningfork.bridge.call(report.overview)
        watched = self.is_current and self._listed.listed_run is not None and self._listed.listed_run.name == job.name
        self._listed.show(run_exports)
        if made and watched:
            self._listed.go_to((job.name, made[0].id))
        self.reload()
        if job.state in ("failed", "lost") and str(job.id) in self._mine:
            try:
                jobs.raise_error(job)
            except TuningforkError as error:
                self.tuningfork.show_error(error, "The export failed")
            return True
        return bool(made) and watched

    @work(group="cancel")
    @show_errors
    async def action_cancel(self) -> None:
        """End the job; it removes what it began."""
        job = self.job
        if job is not None:
            self.tuningfork.notify("Cancelling …")
            await self.tuningfork.bridge.job(service.cancel, int(job.ref))

    # -- an export ----------------------------------------------------------------------------------------------------

    @on(ExportView.Taken)
    def _taken(self) -> None:
        self.action_copy()

    def action_copy(self) -> None:
        """Copy the command under the cursor."""
        if self._view.command:
            self.copy(self._view.command)

    def action_copy_path(self) -> None:
        """Copy the path of the export."""
        if self._view.made:
            self.copy(str(self._view.made.path))

    @work(group="act")
    async def action_compare(self) -> None:
        """Chat with the exported file beside the run it was made from."""
        made = self._view.made
        if made is None or made.gguf is None:
            self.tuningfork.notify("There is no GGUF file of the whole model in this export.", severity="warning")
            return
        await self.tuningfork.compare(made.beside, str(made.gguf))

    @work(group="push", exclusive=True)
    async def action_push(self) -> None:
        """Upload an export to the hub, after showing every file that would leave this machine."""
        from engine.export import hub_upload

        export, bridge = self._listed.export, self.tuningfork.bridge
        if export is None:
            return
        try:
            made = await bridge.call(hub_upload.find, str(export.id))
            files = await bridge.call(hub_upload.outgoing, made)
            ask = Ask(f"Push {model_name(made)}  {title(made)}", _REPO, verb="Next", placeholder="OWNER/NAME")
            repo = await self.app.push_screen_wait(ask)
            if not repo:
                return
            try:
                hub_upload.check_repo(repo)
            except BadInput as error:
                raise BadInput(error.what, todo=error.todo) from None  # there is no option --to here
            picked = await self.app.push_screen_wait(Pick("Who may read it, if it is new?", _READERS))
            if picked is None:
                return
            private, total = picked.value == "private", sum(file.bytes for file in files)
            listed = "\n".join(f"{formatting.size(file.bytes):>8}  {file.name}" for file in files)
            body = f"{sending(len(files), total, repo, private)}\n\n{listed}\n\nUntil now nothing was sent."
            if not await self.app.push_screen_wait(Confirm("Send it to the Hugging Face hub?", body, "Send")):
                return
            self._sending = repo
            self.tuningfork.notify(f"Sending {formatting.size(total)} to huggingface.co/{repo} …")
            said = message(made)
            url = await bridge.job(lambda _: hub_upload.push(files, repo, private=private, message=said))
        except TuningforkError as error:
            self.tuningfork.show_error(error, "The export was not pushed")
        else:
            self.app.push_screen(Notice("The export is on the hub", url))
        finally:
            self._sending = ""

    @work(group="act")
    @show_errors
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
