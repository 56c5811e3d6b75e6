"""One export: what it is and where, what its verification found, the commands to use it; or how far its job is.
Shows; changes nothing."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.job_list import JobView
from tui import formatting
from tui.export_summary import SIGN, CheckLine, advice, checks, divergence, model_name, stage, state_word, title, tried
from tui.screens.export.report import MadeExport
from tui.screens.train.run_view import Bar
from tui.text import clean

_ROOMY = 60


class ExportView(Vertical):
    """`show(made)`; the commands are a list with a cursor, Enter takes one."""

    DEFAULT_CSS = """
    ExportView {
        background: $surface;
        padding: 0 1;
        & > #export-head { height: auto; margin-bottom: 1; }
        & > #verification { height: auto; max-height: 60%; scrollbar-size-vertical: 1; }
        & > #verification:focus { background: $lift; }
        & > #verification > Static { height: auto; }
        & > #commands { height: 1fr; min-height: 3; margin-top: 1; border: none; padding: 0; background: transparent; }
        & > #commands > .option-list--option { padding: 0; }
        & > #commands { scrollbar-size-vertical: 1; }
    }
    """

    class Taken(Message):
        """Enter on a command."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.made: MadeExport | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="export-head", markup=False)
        with VerticalScroll(id="verification"):
            yield Static(id="checks", markup=False)
        yield OptionList(id="commands", markup=False, compact=True)

    def on_resize(self) -> None:
        self._wrap()

    def _wrap(self) -> None:
        if self.made is not None:
            room = self.query_one("#verification").scrollable_content_region.width
            self.query_one("#checks", Static).update(_verification(self.made, max(20, room - 1)))

    def show(self, made: MadeExport) -> None:
        """Show this export as it is now."""
        if made == self.made:
            self.query_one("#export-head", Static).update(_head(made))  # its age changes
            return
        another = self.made is None or made.export.id != self.made.export.id
        self.made = made
        self.query_one("#export-head", Static).update(_head(made))
        self._wrap()
        if another:
            self.query_one("#verification").scroll_home(animate=False)
        commands = self.query_one("#commands", OptionList)
        commands.clear_options()
        commands.add_options([Option(_command(program, line)) for program, line in made.commands])
        commands.highlighted = 0 if made.commands else None
        commands.display = bool(made.commands)

    @property
    def command(self) -> str | None:
        """The command line under the cursor."""
        at = self.query_one("#commands", OptionList).highlighted
        return self.made.commands[at][1] if self.made and self.made.commands and at is not None else None

    def focus_commands(self) -> None:
        """Focus the commands, or the verification where there are none."""
        commands = self.query_one("#commands", OptionList)
        (commands if commands.display else self.query_one("#verification")).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Taken())


class ExportWork(Vertical):
    """`show(job)`: the export that is being made, by this window or another."""

    DEFAULT_CSS = """
    ExportWork {
        background: $surface;
        padding: 0 1;
        & > Static { height: auto; margin-bottom: 1; }
    }
    """

    def compose(self) -> ComposeResult:
        yield Static(id="work-title", markup=False)
        yield Bar()
        yield Static(id="work-text", markup=False)
        yield Static(Content.styled("s cancels it and removes its files. It continues when you quit.", "$faint"))

    def show(self, job: JobView) -> None:
        """How far it is."""
        now = job.progress
        what = now.part or ("waits" if job.state == "queued" else "starting")
        self._say("#work-title", Content.assemble(("◐ ", "$accent bold"), (clean(f"{job.name}  {what}"), "bold")))
        seconds = time.time() - (job.started_at or job.created_at) / 1000
        words = f"{now.share:.0%}" if now.share is not None else formatting.duration(seconds)
        if now.seconds_left is not None:
            words += f" · {formatting.left(now.seconds_left)}"
        self.query_one(Bar).show(now.share, words, "$accent")
        self._say("#work-text", _stage(job))

    def _say(self, selector: str, text: Content) -> None:
        widget = self.query_one(selector, Static)
        if widget.content != text:
            widget.update(text)


def _stage(job: JobView) -> Content:
    if job.state == "queued":
        return Content.styled("It starts when the export before it has ended.", "$faint")
    if not job.progress.stage:
        return Content.styled("preparing …", "$faint")
    return Content.assemble(stage(job.progress), "  ", (clean(job.progress.text), "$faint"))


def _head(made: MadeExport) -> Content:
    export = made.export
    sign, style = SIGN[export.state]
    head = Content.assemble(
        (f"{sign} {clean(model_name(export))}  {title(export)}", f"bold {style}"), "  ", (state_word(export), "bold")
    )
    figures = [formatting.size(export.bytes)] if export.bytes is not None else []
    if apart := divergence(export.verification.get("kl")):
        figures.append(apart)
    if export.ended_at and export.state != "working":
        figures.append(f"took {formatting.duration((export.ended_at - export.created_at) / 1000)}")
    age = formatting.ago(export.created_at)
    figures.append("just now" if age == "now" else f"{age} ago")
    lines = [
        head,
        Content.styled(clean(" · ".join(figures)), "$faint"),
        Content.styled(clean(str(made.folder)), "$secondary"),
    ]
    return Content("\n").join(lines)


def _verification(made: MadeExport, width: int) -> Content:
    """A line per check, then the reason of a failure and what to make instead."""
    found, export = checks(made.export), made.export
    wide = max((len(check.name) for check in found), default=0)
    lines = [_line(check, wide, width) for check in found]
    if not found and export.state == "done":
        lines.append(Content.styled("It was not verified.", "$faint"))
    if export.state == "working":
        lines.append(Content.styled("It is being made now; its verification comes last.", "$faint"))
    lines += _tried(made, width)
    if export.error:
        lines.append(Content.assemble(("✗ ", "$error bold"), (clean(export.error), "$error")))
    if hint := advice(export):
        lines.append(Content.assemble(("→ ", "bold"), clean(hint)))
    return Content("\n").join(lines)


def _tried(made: MadeExport, width: int) -> list[Content]:
    """The quants among which auto chose, a line each; without speeds and notes in a narrow window."""
    rows = tried(made.export)
    if not rows:
        return []
    shown = rows if width >= _ROOMY else [row[:4] for row in rows]
    wide = [max(len(row[at]) for row in shown) for at in range(len(shown[0]))]
    lines = [Content.styled(f"{formatting.count(len(rows), 'quant')} tried:", "bold")]
    for row in shown:
        cells = [f"{cell:<{wide[at]}}" if at in (0, 1, 5) else f"{cell:>{wide[at]}}" for at, cell in enumerate(row)]
        style = {"✓": "$success bold", "✗": "$faint"}.get(row[0], "")
        lines.append(Content.styled(clean("  ".join(cells)).rstrip(), style))
    return lines


def _line(check: CheckLine, wide: int, width: int) -> Content:
    """Sign, state, name and what was found, wrapped under itself; the sign alone in a narrow window."""
    sign, style = SIGN.get(check.state, ("?", ""))
    state = f"{sign} {check.state:<7}  " if width >= _ROOMY else f"{sign} "
    head = Content.assemble((state, f"{style} bold"), f"{clean(check.name):<{wide}}  ")
    indent = head.cell_length
    said = Content.styled(clean(check.said), "$faint").wrap(max(10, width - indent))
    return head + Content("\n" + " " * indent).join(said)


def _command(program: str, line: str) -> Content:
    return Content.assemble((clean(program), "bold $primary"), "\n", clean(line))
