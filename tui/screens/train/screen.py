"""Train: choose what to train, start it, and watch every run, also those that other terminals started.
Runs are processes of their own; this screen starts and stops them and shows what the store knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import ScreenResume
from textual.timer import Timer
from textual.widgets import OptionList

from engine.models.refs import Ref, writes
from engine.training import continuing, run_control
from engine.training.config import FIELDS
from store import pairs, runs
from store.errors import BadInput, TuningforkError
from store.records import END_STATES, LIVE_STATES
from tui import formatting, keys
from tui.screens.base import ModeScreen
from tui.screens.dialogs.ask import Ask
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.notice import Notice
from tui.screens.dialogs.pick import Entry, Pick
from tui.screens.dialogs.pick_model import pick_model
from tui.screens.train import report
from tui.screens.train.report import Choices, NamedPair, RunRow
from tui.screens.train.run_form import Picker, RunForm, checked
from tui.screens.train.run_list import RunList, state_words
from tui.screens.train.run_view import RunView
from tui.text import clean, one_line
from tui.widgets.empty_state import EmptyState

_TICK_S = 1.0
_SETTLE_S = 0.4
"""Seconds without a change before the choices are checked."""


class TrainScreen(ModeScreen):
    """The runs on the left; on the right the one under the cursor, or the form of a new one."""

    MODE = "train"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.TRAIN, keys.RUNS)

    def __init__(self) -> None:
        super().__init__()
        self.choices = Choices((), (), frozenset())
        self._reader = report.RunReader()
        self._opened = False
        self._settling: Timer | None = None
        self._checked = True
        """Whether the check shown is of what the form holds."""
        self._named: tuple[NamedPair, ...] = ()
        """The pairs that it names."""

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="train"):
            yield RunList(id="runs")
            yield RunForm(id="form")
            yield RunView(id="view")
            yield EmptyState(id="nothing")

    def on_mount(self) -> None:
        self.query_one("#nothing", EmptyState).say(
            "There is nothing to train on yet.", [("F2", "Write or import pairs, or load the sample data")]
        )
        self.set_interval(_TICK_S, self._tick)
        self.tuningfork.runs_changed.subscribe(self, lambda _: self.reload())
        self.tuningfork.pairs_changed.subscribe(self, lambda _: self.reload_choices())
        self._show()

    @on(ScreenResume)
    def _resumed(self) -> None:
        self.reload()
        self.reload_choices()

    # -- what the store knows -----------------------------------------------------------------------------------------

    @work(group="choices", exclusive=True)
    async def reload_choices(self) -> None:
        """Datasets, models and names, for a new run."""
        self.choices = await self.tuningfork.bridge.call(report.choices)
        self.query_one(RunForm).offer(self.choices, self.tuningfork.settings.dataset)
        self._show()

    @work(group="runs", exclusive=True)
    async def reload(self) -> None:
        """The list of runs, and the one under the cursor."""
        rows = await self.tuningfork.bridge.call(self._reader.all_rows)
        listed = self.query_one(RunList)
        listed.show(rows)
        if not self._opened:
            self._open(listed, rows)
        await self._show_run()
        self._show()

    def _open(self, listed: RunList, rows: list[RunRow]) -> None:
        """At first, go to the run that is running; without one, to a new run, which Enter twice starts."""
        self._opened = True
        live = next((row.run.name for row in rows if row.run.state in LIVE_STATES), None)
        listed.go_to(live)
        listed.focus()

    async def _show_run(self) -> None:
        view, row = self.query_one(RunView), self.query_one(RunList).selected
        if row is None:
            return
        view.begin(row.run.name)
        found = await self.tuningfork.bridge.call(self._reader.report, row.run.name, view.last_event)
        if found is not None and self.query_one(RunList).selected is not None:
            view.show(found)

    def _tick(self) -> None:
        """Elapsed times change while nothing is written."""
        if self.is_current and any(row.run.state in (*LIVE_STATES, "queued") for row in self.query_one(RunList).rows):
            self.reload()

    # -- which side is shown ------------------------------------------------------------------------------------------

    @property
    def row(self) -> RunRow | None:
        """The run under the cursor."""
        return self.query_one(RunList).selected

    def _show(self) -> None:
        new, usable = self.row is None, any(d.ready or d.preferences or d.feedback for d in self.choices.datasets)
        self.query_one(RunView).display = not new
        self.query_one(RunForm).display = new and usable
        self.query_one("#nothing").display = new and not usable
        self.refresh_bindings()

    @on(RunList.Moved)
    def _moved(self) -> None:
        self._show()
        self.reload()
        if self.row is None:
            self._changed()

    @on(OptionList.OptionSelected)
    def _entered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self.row is None:
            self.query_one(RunForm).focus_start()  # so that Enter twice starts a run
        elif self.row.run.adapter:
            self.action_compare()

    def working(self) -> str:
        return "checking" if self.row is None and not self._checked else ""

    def can_act(self, action: str) -> bool:
        state = self.row.run.state if self.row else None
        match action:
            case "stop" | "stop_now":
                return state in (*LIVE_STATES, "queued")
            case "put_first":
                return state == "queued"
            case "resume":
                return self.row is not None and run_control.can_resume(self.row.run)
            case "compare":
                saved = self.row is not None and bool(self.row.run.adapter or self.row.checkpoints)
                return saved and self.row is not None and writes(self.row.run)
            case "chart" | "checkpoints" | "difference" | "log" | "note":
                return self.row is not None
            case "find":
                return bool(self.query_one(RunList).rows)
            case "diagnose":
                return state in END_STATES
            case "remove":
                return state is not None and state not in LIVE_STATES
            case "named":
                return self.row is None and bool(self._named)
            case "start" | "rows" | "more":
                return self.row is None and self.query_one(RunForm).display
        return True

    # -- a new run ----------------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        self.query_one(RunList).go_to(None)
        self._show()
        self.query_one(RunForm).focus_start()

    async def open_with(self, dataset: str, objective: str, on: str | None) -> None:
        """A new run on a dataset towards an objective, on top of a run if one is named."""
        self.choices = await self.tuningfork.bridge.call(report.choices)
        base = await self.tuningfork.bridge.call(continuing.base_of, on) if on else ""
        self.query_one(RunForm).begin(self.choices, dataset, objective, base, on or "")
        self.action_new()

    def action_more(self) -> None:
        """Show or hide the settings that are rarely changed."""
        form = self.query_one(RunForm)
        form.show_more(not form.more)

    @on(RunForm.Changed)
    def _changed(self) -> None:
        if self._settling:
            self._settling.stop()
        self._checked = False
        self._settling = self.set_timer(_SETTLE_S, self.check)

    @on(Picker.Asked)
    @work(group="dialog", exclusive=True)
    async def _asked(self, event: Picker.Asked) -> None:
        form = self.query_one(RunForm)
        if event.picker.id == "model":
            chosen = await pick_model(self.tuningfork, "Model to tune", form.model, base_only=True)
        else:
            entries = [Entry(d.name, d.name, formatting.count(d.ready, "ready pair")) for d in self.choices.datasets]
            picked = await self.app.push_screen_wait(Pick("Dataset to train on", entries, current=form.dataset))
            chosen = picked.value if picked else None
        if chosen:
            form.choose(str(event.picker.id), chosen)

    @work(group="check", exclusive=True)
    async def check(self) -> None:
        """Read the rows as a run would, and estimate; in the background: Start works meanwhile."""
        form = self.query_one(RunForm)
        self._named = ()
        if form.dataset and form.display:
            try:
                config = form.config()
                form.show_check(Content.styled("checking …", "$faint"))
                found = await self.tuningfork.bridge.job(report.check, form.dataset, config, self._preparing)
                self._named = await self.tuningfork.bridge.call(report.named_pairs, found)
                hint = Content.styled("\n  L opens a row that is named here.", "$faint") if self._named else ""
                form.show_check(checked(found) + hint)
            except TuningforkError as error:
                form.show_check(Content.assemble(("✗ ", "$error bold"), clean(str(_labelled(error)))))
        self._checked = True
        self.refresh_bindings()

    @work(group="dialog", exclusive=True)
    async def action_named(self) -> None:
        """Open a pair that the check names; with several, ask which."""
        from tui.screens.data.pair_editor import PairEditor

        entries = [Entry(each.pair.uid, one_line(each.pair.question, 200), each.why) for each in self._named]
        uid = entries[0].value if entries else None
        if len(entries) > 1:
            picked = await self.app.push_screen_wait(Pick("Open which row?", entries))
            uid = picked.value if picked else None
        found = await self.tuningfork.bridge.call(pairs.begin_with, uid) if uid else []
        if found:
            await self.app.push_screen_wait(PairEditor(found[0]))
            self.check()

    def _preparing(self, line: str) -> None:
        """Show how far the model is prepared; called from a thread."""
        self.app.call_from_thread(
            self.query_one(RunForm).show_check, Content.assemble(("… ", "$accent bold"), clean(line))
        )

    @on(RunForm.Start)
    def _start_pressed(self) -> None:
        self.action_start()

    @work(group="start", exclusive=True)
    async def action_start(self) -> None:
        """Freeze the dataset and start the run, or put it in the queue."""
        form = self.query_one(RunForm)
        try:
            config = form.config()
            run = await self.tuningfork.bridge.call(report.launch, form.dataset, config, form.run_name)
        except TuningforkError as error:
            form.show_field(error.where or "")
            self.tuningfork.show_error(_labelled(error), "The run did not start")
            return
        listed = self.query_one(RunList)
        listed.show(await self.tuningfork.bridge.call(self._reader.all_rows))
        listed.go_to(run.name)
        listed.focus()
        if run.state == "queued":
            self.tuningfork.notify(f"{run.name} waits in the queue; it starts when the run before it ends.")
        self.reload_choices()

    # -- a run --------------------------------------------------------------------------------------------------------

    async def _do(self, call: Any, *args: Any, **kwargs: Any) -> bool:
        """Call run_control in a thread; an error is shown."""
        try:
            await self.tuningfork.bridge.call(call, *args, **kwargs)
        except TuningforkError as error:
            self.tuningfork.notify_error(error)
            return False
        self.reload()
        return True

    @work(group="act")
    async def action_stop(self) -> None:
        """Ask for a checkpoint and an end."""
        if self.row and await self._do(run_control.stop, self.row.run.name):
            self.tuningfork.notify("It saves a checkpoint and stops; r resumes it.")

    @work(group="act")
    async def action_stop_now(self) -> None:
        """End a run without a checkpoint, after asking."""
        if self.row is None:
            return
        name = self.row.run.name
        body = "Steps since its last checkpoint are lost. s saves a checkpoint first."
        if await self.app.push_screen_wait(Confirm(f"Stop {name} now?", body, "Stop now")):
            await self._do(run_control.stop, name, now=True)

    @work(group="act")
    async def action_put_first(self) -> None:
        """Move a run that waits to the beginning of the queue."""
        if self.row and await self._do(runs.put_first, self.row.run.name):
            self.tuningfork.notify(f"{clean(self.row.run.name)} starts next.")

    @work(group="act")
    async def action_resume(self) -> None:
        """Continue from the last checkpoint."""
        if self.row:
            notes: list[str] = []
            if await self._do(run_control.resume, self.row.run.name, on_note=notes.append):
                for note in notes:
                    self.tuningfork.notify(note)

    @work(group="act")
    async def action_remove(self) -> None:
        """Delete a run and its files, after asking."""
        row = self.row
        if row is None:
            return
        kept = formatting.count(len(row.checkpoints), "checkpoint")
        body = f"Its adapter, {kept}, metrics and log are deleted. Its dataset, votes and exports stay."
        if await self.app.push_screen_wait(Confirm(f"Remove run {row.run.name}?", body, "Remove")):
            self.query_one(RunList).go_to(None)
            await self._do(run_control.remove, row.run.name)
            self.reload_choices()

    @work(group="dialog", exclusive=True)
    async def action_diagnose(self) -> None:
        """Say why the run came out as it did, and offer the run that fixes it."""
        from engine.training import fixing
        from engine.training.diagnosis import NO_CAUSE

        if self.row is None:
            return
        name = self.row.run.name
        try:
            found = await self.tuningfork.bridge.job(fixing.diagnosis_of, name)
        except TuningforkError as error:
            self.tuningfork.notify_error(error)
            return
        if not self.is_current:
            return
        title = f"Diagnosis of {name}"
        lines = [*found.outcome, *(f"{n}. {cause.kind}: {cause.evidence}" for n, cause in enumerate(found.causes, 1))]
        if found.fix is None:
            await self.app.push_screen_wait(Notice(title, clean("\n".join([*lines, NO_CAUSE]))))
            return
        lines.append(f"A new run {found.fix.words}.")
        if await self.app.push_screen_wait(Confirm(title, clean("\n".join(lines)), "Start the fix", harmless=True)):
            await self._do(fixing.start_fix, name, found.fix)

    @work(group="dialog", exclusive=True)
    async def action_note(self) -> None:
        """Write or change the note of the run under the cursor."""
        if self.row is None:
            return
        run = self.row.run
        asked = Ask(
            f"Note on {run.name}",
            "One line to remember of it. An empty one removes it.",
            run.note,
            verb="Keep",
            empty=True,
            most=runs.MOST_NOTED,
        )
        text = await self.app.push_screen_wait(asked)
        if text is not None:
            await self._do(runs.set_note, run.name, text)

    @work(group="dialog", exclusive=True)
    async def action_find(self) -> None:
        """Go to a run by words of its name or its note."""
        rows = self.query_one(RunList).rows
        entries = [
            Entry(
                row.run.name,
                " · ".join(filter(None, (row.run.name, row.run.note))),
                one_line(state_words(row.status), 20),
            )
            for row in rows
        ]
        current = self.row.run.name if self.row is not None else ""
        picked = await self.app.push_screen_wait(Pick("Find a run", entries, current=current))
        if picked is not None:
            self.query_one(RunList).go_to(picked.value)
            self.query_one(RunList).focus()

    def action_checkpoints(self) -> None:
        """List what the run under the cursor saved."""
        from tui.screens.train.checkpoints import CheckpointsPage

        if self.row is not None:
            self.app.push_screen(CheckpointsPage(self.row.run.name))

    def action_log(self) -> None:
        """Show the log file of the run under the cursor."""
        from tui.screens.train.log_page import LogPage

        if self.row is not None:
            self.app.push_screen(LogPage(self.row.run.name))

    def action_difference(self) -> None:
        """Show the settings of the run under the cursor, and what differs from the run before it."""
        from tui.screens.train.difference import DifferencePage

        if self.row is not None:
            names = [row.run.name for row in self.query_one(RunList).rows]
            self.app.push_screen(DifferencePage(self.row.run.name, run_before(names, self.row.run.name)))

    def action_chart(self) -> None:
        self.query_one(RunView).next_chart()

    @work(group="act")
    async def action_compare(self) -> None:
        """Chat with the run beside the model that it started from."""
        if self.row is None or not writes(self.row.run):
            return
        run = self.row.run
        before = await self.tuningfork.bridge.call(report.before, run)
        await self.tuningfork.compare(before, str(Ref.run(run.name)))

    def action_copy(self) -> None:
        """Copy the settings of the run under the cursor, or of the form, as a file for `train --config`."""
        from engine.training import config_files  # with it comes PyYAML, which opening the app can do without

        if self.row is not None:
            self.copy(config_files.of_run(self.row.run))
            return
        form = self.query_one(RunForm)
        try:
            self.copy(config_files.write(form.config(), {"dataset": form.dataset}))
        except TuningforkError as error:
            self.tuningfork.notify_error(_labelled(error))

    @work(group="dialog", exclusive=True)
    async def action_rows(self) -> None:
        """Show what the model learns, token by token."""
        from tui.screens.train.rows import Rows

        form = self.query_one(RunForm)
        try:
            config = form.config()
            found = await self.tuningfork.bridge.job(report.check, form.dataset, config, self._preparing)
        except TuningforkError as error:
            self.tuningfork.notify_error(error)
            return
        if self.is_current:  # preparing the model may take long, and another screen may be open by now
            self.app.push_screen(Rows(found.preflight))


def run_before(names: Sequence[str], name: str) -> str | None:
    """What a run is compared with at first: the run before it; of the oldest the one after it. `names` are newest
    first.

    >>> run_before(["c", "b", "a"], "b"), run_before(["c", "b", "a"], "a"), run_before(["a"], "a")
    ('a', 'b', None)
    """
    at = names.index(name)
    return next(iter([*names[at + 1 :], *reversed(names[:at])]), None)


def _labelled(error: TuningforkError) -> TuningforkError:
    """The error without the internal name of a field: its sentence begins with the field's label."""
    return BadInput(error.what, todo=error.todo) if error.where in FIELDS else error
