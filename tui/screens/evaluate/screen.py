"""Evaluate: the evaluations, the figures of the one under the cursor, and its rows with every answer.
The work is a background job (engine.evaluation.evaluating); this screen starts, shows and stops those of any window."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import ScreenResume
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.evaluation import evaluating
from store.records import Job
from tui import formatting, keys
from tui.leaving import leaving
from tui.screens.base import ModeScreen, show_errors
from tui.screens.dialogs.confirm import Confirm
from tui.screens.evaluate import figures, overview
from tui.screens.evaluate.overview import ListedEvaluation
from tui.screens.evaluate.request_dialog import EvaluationDialog
from tui.text import content, one_line
from tui.widgets.empty_state import EmptyState

_TICK_S = 1.0
_LOOKS, _LOOK_S = 1_000, 0.01
_SIGN = {"done": "✓", "failed": "✗", "lost": "✗", "stopped": "–", "queued": "·"}


class EvaluateScreen(ModeScreen):
    """Evaluations on the left; on the right figures, rows that got worse first, and the answers to one."""

    MODE = "evaluate"
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.EVALUATE)

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[ListedEvaluation] = []
        self.rows: list[dict[str, Any]] = []
        self._shown: tuple[int, str] | None = None
        self._wanted: int | None = None  # the evaluation that the cursor goes to once it is listed
        self._only_worse = self._diff = False

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="evaluate"):
            yield OptionList(id="listed", markup=False)
            with Vertical(id="found"):
                with VerticalScroll(id="figures"):
                    yield Static(id="report")
                yield OptionList(id="rows", markup=False)
                with VerticalScroll(id="texts"):
                    yield Static(id="row")
        yield EmptyState(id="nothing")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#nothing", EmptyState).say(
            "No model has been evaluated yet.",
            [keys.EVALUATE[0], next(key for key in keys.EVALUATE if key.action == "probes")],
        )
        self.query_one("#evaluate").display = False
        self.query_one("#listed").focus()
        self.set_interval(_TICK_S, self._tick)
        self.reload()

    @on(ScreenResume)
    def _resumed(self) -> None:
        self._shown = None  # a verdict may have been made meanwhile
        self.reload()

    def _tick(self) -> None:
        if self.is_current and any(each.state in ("running", "starting", "queued", "stopping") for each in self.listed):
            self.reload()

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def current(self) -> ListedEvaluation | None:
        """The evaluation under the cursor."""
        at = self.query_one("#listed", OptionList).highlighted
        return self.listed[at] if at is not None and at < len(self.listed) else None

    @work(group="evaluations", exclusive=True)
    @show_errors
    async def reload(self) -> None:
        """Read the list again; the cursor stays on the evaluation where it was, or goes to one that was started."""
        listed = await self.tuningfork.bridge.call(overview.listed)
        before = self.current.evaluation.id if self.current else None
        self.listed = listed
        self.query_one("#evaluate").display = bool(self.listed)
        self.query_one("#nothing").display = not self.listed
        box = self.query_one("#listed", OptionList)
        if self.listed and not box.size.width:  # shown for the first time: its lines need the width that it will have
            await self._laid_out()
        box.set_options([Option(_line(each, box.size.width)) for each in self.listed])
        if self.listed:
            numbers = [each.evaluation.id for each in self.listed]
            if self._wanted in numbers:
                before, self._wanted = self._wanted, None
            box.highlighted = numbers.index(before) if before in numbers else 0
        await self._show()

    async def _laid_out(self) -> None:
        """Wait for the layout, which comes with one of the next refreshes; on a busy machine that may take a while."""
        for _ in range(_LOOKS):
            if self.query_one("#listed").size.width:
                return
            await asyncio.sleep(_LOOK_S)

    async def _show(self) -> None:
        """Show the evaluation under the cursor."""
        current = self.current
        if current is None:
            self._shown = None
            return
        found = current.evaluation
        report = self.query_one("#report", Static)
        if found.report is None:
            report.update(_progress(current))
        key = (found.id, current.state)
        if self._shown != key:
            bridge = self.tuningfork.bridge
            decided = await bridge.call(overview.verdict, found.report) if found.report else None
            rows = await bridge.call(overview.rows, found.id) if found.report else []
            if self.current is None or (self.current.evaluation.id, self.current.state) != key:
                return  # the cursor has moved on
            self._shown, self.rows = key, rows
            if found.report is not None:
                parts = [figures.verdict(*decided)] if decided is not None else []
                parts.append(figures.report(found.report, self.query_one("#figures").size.width))
                report.update(Content("\n\n").join(parts))
            self._list_rows()
        self.refresh_bindings()

    @on(OptionList.OptionHighlighted, "#listed")
    @work(group="show", exclusive=True)
    async def _moved(self) -> None:
        await self._show()

    # -- rows ---------------------------------------------------------------------------------------------------------

    @property
    def visible_rows(self) -> list[dict[str, Any]]:
        """The rows that are listed now."""
        worse = [row for row in self.rows if row["difference"] is not None and row["difference"] < 0]
        return worse if self._only_worse else self.rows

    def _list_rows(self) -> None:
        box, shown = self.query_one("#rows", OptionList), self.visible_rows
        width = box.size.width or self.size.width - 40  # not laid out before the first evaluation is shown
        box.set_options([Option(figures.row_line(row, width)) for row in shown])
        box.highlighted = 0 if shown else None
        if not shown:
            self.query_one("#row", Static).update("No row got worse." if self._only_worse and self.rows else "")

    @on(OptionList.OptionHighlighted, "#rows")
    def _row_moved(self) -> None:
        self._show_row()

    def _show_row(self) -> None:
        at, shown = self.query_one("#rows", OptionList).highlighted, self.visible_rows
        if at is not None and at < len(shown):
            self.query_one("#row", Static).update(figures.row_texts(shown[at], self._diff))

    @on(OptionList.OptionSelected)
    def _entered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.query_one("#rows" if event.option_list.id == "listed" else "#texts").focus()

    def action_worse(self) -> None:
        """Only the rows that got worse, or all."""
        self._only_worse = not self._only_worse
        self._list_rows()

    def action_diff(self) -> None:
        """Mark the words that differ, or not."""
        self._diff = not self._diff
        self._show_row()

    def can_act(self, action: str) -> bool:
        current = self.current
        live = current is not None and current.state in ("running", "starting", "queued")
        match action:
            case "stop":
                return live
            case "resume":
                return current is not None and current.state in ("stopped", "failed", "lost")
            case "history":
                return any(each.evaluation.report is not None for each in self.listed)
            case "worse" | "diff":
                return bool(self.rows)
            case "write":
                return current is not None and current.state == "done"
            case "remove":
                return current is not None and not live
        return True

    # -- evaluations --------------------------------------------------------------------------------------------------

    @work(group="start", exclusive=True)
    @show_errors
    async def action_new(self) -> None:
        """Ask what to evaluate and start it."""
        bridge = self.tuningfork.bridge
        choices = await bridge.call(overview.choices)
        if not choices.datasets:
            self.tuningfork.notify("There is no dataset yet: import one in Data (F2).", severity="warning")
            return
        answer = await self.app.push_screen_wait(EvaluationDialog(choices))
        if answer is None:
            return
        planned = await bridge.call(overview.planned, *answer)
        said = "\n".join([f"{planned.answers} answers of the type {planned.type}.", *planned.notes])
        if planned.leaves:
            said += f"\n{leaving('Its texts', planned.leaves)}"
        if (planned.leaves or planned.notes) and not await self.app.push_screen_wait(
            Confirm("Start the evaluation?", said, "Start", harmless=not planned.leaves)
        ):
            return
        self._wanted = (await bridge.call(evaluating.submit, planned)).id
        self.reload()

    @work(group="stop")
    @show_errors
    async def action_stop(self) -> None:
        """End the job; what was answered stays."""
        if self.current is not None:
            self.tuningfork.notify("Stopping …")
            await self.tuningfork.bridge.job(overview.stop, self.current.evaluation.id)
            self.reload()

    @work(group="start", exclusive=True)
    @show_errors
    async def action_resume(self) -> None:
        """Ask what is still missing."""
        if self.current is not None:
            await self.tuningfork.bridge.call(evaluating.resume, self.current.evaluation.id)
            self.reload()

    @work(group="act")
    @show_errors
    async def action_write(self) -> None:
        """Write the report as files."""
        if self.current is not None:
            written = await self.tuningfork.bridge.job(overview.write, self.current.evaluation.id)
            self.tuningfork.notify(f"Wrote {formatting.count(len(written), 'file')} into {written[0].parent}.")

    @work(group="act")
    @show_errors
    async def action_remove(self) -> None:
        """Delete an evaluation, after asking."""
        current = self.current
        if current is None:
            return
        body = f"{formatting.count(current.evaluation.done, 'answer')} are deleted."
        name = f"evaluation {current.evaluation.id} of {current.evaluation.name}"
        if await self.app.push_screen_wait(Confirm(f"Delete {name}?", body, "Delete")):
            await self.tuningfork.bridge.call(evaluating.remove, current.evaluation.id)
            self.reload()

    @work(group="probes", exclusive=True)
    async def action_probes(self) -> None:
        """Show the probe sets."""
        from tui.screens.evaluate.probe_sets import ProbeSetScreen

        await self.app.push_screen_wait(ProbeSetScreen())

    @work(group="history", exclusive=True)
    async def action_history(self) -> None:
        """Plot how the figures moved over the evaluations."""
        from tui.screens.evaluate.history_page import HistoryPage

        await self.app.push_screen_wait(HistoryPage())

    async def job_ended(self, job: Job, made: list[Any]) -> bool:
        """Show the end of an evaluation's job; whether that was seen here, so that no notice is needed."""
        if job.kind != evaluating.KIND:
            return False
        self.reload()
        return self.is_current and job.state == "succeeded"


def _line(each: ListedEvaluation, width: int) -> Content:
    """`✓ 3 ember  reviews`, and for one that runs how far it is."""
    found = each.evaluation
    sign = _SIGN.get(each.state, "●")
    done = "" if found.report is not None else f" {found.done}/{found.total}"
    text = f"{sign} {found.id} {found.name}{done}  {found.plan.get('dataset') or ''}"
    return content(one_line(text, max(12, width - 2)))


def _progress(each: ListedEvaluation) -> Content:
    """What an evaluation without a report is doing."""
    found, job = each.evaluation, each.job
    said = f"{found.done} of {found.total} answers, {each.state}"
    if job is not None and each.state == "running":
        now = job.progress
        said += f": {now.stage} {now.part}".rstrip()
        if now.seconds_left is not None:
            said += f", {formatting.duration(now.seconds_left)} left"
    if job is not None and job.error is not None:
        said += f"\n{job.error.get('what', '')} {job.error.get('todo') or ''}"
    return content(said)
