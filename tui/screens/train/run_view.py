"""One run: its state, progress, loss and messages.
Shows a report; changes nothing."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.models.refs import writes
from engine.training.run_control import RunStatus
from engine.training.stop_rules import IDENTITY, LEARNED
from store.records import LIVE_STATES, state_word
from tui import formatting
from tui.screens.train.log_tail import LogTail
from tui.screens.train.loss_chart import LossChart
from tui.screens.train.report import RunReport
from tui.screens.train.run_list import SIGN
from tui.text import clean, one_line

_NOTE_LINES = 2
"""Lines of the note that are shown at most; the dialog that changes it has all of it."""
LOSS = "loss"
"""What the chart draws at first."""


class Bar(Widget):
    """Steps done of steps to do, as a line of the widget's width."""

    DEFAULT_CSS = "Bar { height: 1; }"
    _part: float | None = None
    _text = ""
    _style = "$accent"

    def show(self, part: float | None, text: str, style: str) -> None:
        """`part` is from 0 to 1, or None while it is unknown."""
        if (part, text, style) != (self._part, self._text, self._style):
            self._part, self._text, self._style = part, text, style
            self.refresh()

    def render(self) -> Content:
        text = one_line(self._text, self.size.width)
        space = self.size.width - Content(text).cell_length - 2
        if space < 4:
            return Content(text)
        done = round((self._part or 0.0) * space * 2)
        line = "━" * (done // 2) + ("╸" if done % 2 else "")
        rest = "─" * (space - len(line))
        return Content.assemble((line, self._style), (rest, "$hairline"), "  ", text)


class RunView(Vertical):
    """`show(report)`; a report of another run replaces everything."""

    DEFAULT_CSS = """
    RunView {
        background: $surface;
        padding: 0 1;
        & > #run-title { height: auto; margin-bottom: 1; }
        & > #run-figures { height: auto; }
        & > #run-error { height: auto; max-height: 8; color: $error; display: none; }
        & > #run-error.-some { display: block; }
        & > LossChart { height: 2fr; min-height: 6; margin: 1 0; }
        & > LogTail { height: 1fr; min-height: 3; }
        & > #run-note { height: auto; color: $faint; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run_name: str | None = None
        self.last_event = 0
        self._report: RunReport | None = None
        self._chart = LOSS

    def compose(self) -> ComposeResult:
        yield Static(id="run-title", markup=False)
        yield Bar()
        yield Static(id="run-figures", markup=False)
        yield Static(id="run-error", markup=False)
        yield LossChart()
        yield LogTail()
        yield Static(id="run-note", markup=False)

    def begin(self, name: str | None) -> None:
        """Forget the run that was shown."""
        if name != self._run_name:
            self._run_name, self.last_event = name, 0
            self.query_one(LogTail).forget()

    def show(self, report: RunReport) -> None:
        """Show how a run is now; `events` are appended."""
        self.begin(report.run.name)
        self._report = report
        fresh = [event for event in report.events if event.id > self.last_event]
        if fresh:
            self.last_event = fresh[-1].id
            self.query_one(LogTail).add((e.at, e.level, str(e.body.get("text") or e.kind)) for e in fresh)
        self._say("#run-title", _title(report, self.size.width - 2))
        self._say("#run-figures", self._figures(report))
        self._say("#run-note", Content.styled(_note(report), "$faint"))
        error = self.query_one("#run-error", Static)
        error.set_class(bool(report.run.error), "-some")
        self._say("#run-error", Content(clean(report.run.error or "")))
        self._bar(report.status)
        self._draw(report)

    def next_chart(self) -> None:
        """Draw the next measure that the run has: loss, then probes, drift, rate and tokens/s."""
        if self._report is not None:
            known = [LOSS, *self._report.curves]
            at = known.index(self._chart) if self._chart in known else -1
            self._chart = known[(at + 1) % len(known)]
            self._say("#run-figures", self._figures(self._report))
            self._draw(self._report)

    def _draw(self, report: RunReport) -> None:
        total = report.status.total_steps
        if points := report.curves.get(self._chart, ()):
            self.query_one(LossChart).show(points, (), total)
        else:  # the loss, also where the chosen measure is one that this run lacks
            self.query_one(LossChart).show(report.loss, report.val_loss, total, report.chart)

    def _figures(self, report: RunReport) -> Content:
        drawn = self._chart if self._chart in report.curves else ""
        return _figures(report, self.size.width - 2, drawn)

    def on_resize(self) -> None:
        if self._report is not None and self._report.run.name == self._run_name:
            self._say("#run-title", _title(self._report, self.size.width - 2))
            self._say("#run-figures", self._figures(self._report))

    def _say(self, selector: str, text: Content) -> None:
        widget = self.query_one(selector, Static)
        if widget.content != text:
            widget.update(text)

    def _bar(self, status: RunStatus) -> None:
        total = status.total_steps
        part = status.step / total if total else None
        words = f"{status.step}/{total}" if total else (status.phase or "")
        if status.seconds_left is not None:
            words += f" · {formatting.left(status.seconds_left)}"
        elif total and status.phase:
            words += f" · {status.phase}"
        _, style = SIGN[status.run.state]
        self.query_one(Bar).show(part, words, style)


def _title(report: RunReport, width: int) -> Content:
    run, status = report.run, report.status
    sign, style = SIGN[run.state]
    word = state_word(run.state) + (", but no step for a while" if status.hung else "")
    head = Content.assemble((f"{sign} {clean(run.name)}", f"bold {style}"), "  ", (word, "bold"))
    rows = (
        f"{formatting.count(report.rows, 'row')} of {report.dataset}"
        if report.dataset
        else formatting.count(report.rows, "row")
    )
    chosen = f" · result: step {run.result_step}" if run.result_step is not None else ""
    about = head + "\n" + Content.styled(clean(f"{run.method} on {run.base} · {rows}{chosen}"), "$faint")
    return about + "\n" + Content(one_line(run.note, _NOTE_LINES * max(20, width))) if run.note else about


def _figures(report: RunReport, width: int, drawn: str) -> Content:
    """The run's latest numbers; `drawn` is what the chart shows instead of the loss."""
    status = report.status
    figures = [("chart", clean(drawn))] if drawn else []
    figures += [(label, f"{value:.3f}") for label, value in report.figures]
    if report.tokens_per_s and status.state in LIVE_STATES:
        figures.append(("tokens/s", f"{report.tokens_per_s:.0f}"))
    if status.rate:
        figures.append(("steps/s" if status.rate >= 1 else "s/step", f"{max(status.rate, 1 / status.rate):.2g}"))
    if report.lr is not None and status.state in LIVE_STATES:
        figures.append(("rate", f"{report.lr:.1e}".replace("e-0", "e-")))
    if status.elapsed:
        figures.append(("took" if status.state not in LIVE_STATES else "for", formatting.duration(status.elapsed)))
    if not figures and status.phase:
        return Content.styled(clean(status.phase), "$faint")
    out = Content("")
    for name, value in figures:
        item = Content.assemble((name, "$faint"), " ", (value, "bold"), "   ")
        if out.cell_length + item.cell_length <= width + 3:
            out += item
    return out


def _note(report: RunReport) -> str:
    state = report.run.state
    if state in LIVE_STATES or state == "queued":
        return "It keeps running when you quit; any terminal can watch it."
    if report.run.repeats:
        return "Resuming it would fail in the same way: correct the cause, then train a new run."
    if state in ("stopped", "lost", "failed") and report.checkpoints:
        chosen = report.run.result_step
        compared = "that step" if chosen in (None, report.checkpoints[-1]) else f"step {chosen} (its result)"
        return f"r resumes it from step {report.checkpoints[-1]}; o opens {compared} in Compare."
    if state in ("stopped", "lost", "failed"):
        return "r starts it again from the beginning."
    if not writes(report.run):
        return f"It scores answers: tuningfork score run:{report.run.name} --dataset NAME"
    identity = dict(report.figures).get(IDENTITY, LEARNED)
    if identity < LEARNED:
        return f"The identity did not stick ({identity:.0%}): ! says why."
    before = "the run before it" if report.run.config.get("on") else "its base"
    return f"o compares it with {before}." if report.run.adapter else ""
