"""One export: what it is and where, what its proof found, what to type to use it; or how far its making is.
Shows; changes nothing."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui import formatting
from tui.export_summary import SIGN, Check, Part, advice, checks, divergence, model_name, state_word, title
from tui.screens.export.report import Made
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
        & > #proof { height: auto; max-height: 60%; scrollbar-size-vertical: 1; }
        & > #proof:focus { background: $lift; }
        & > #proof > Static { height: auto; }
        & > #commands { height: 1fr; min-height: 3; margin-top: 1; border: none; padding: 0; background: transparent; }
        & > #commands > .option-list--option { padding: 0; }
        & > #commands { scrollbar-size-vertical: 1; }
    }
    """

    class Taken(Message):
        """Enter on a command."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.made: Made | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="export-head", markup=False)
        with VerticalScroll(id="proof"):
            yield Static(id="checks", markup=False)
        yield OptionList(id="commands", markup=False, compact=True)

    def on_resize(self) -> None:
        self._wrap()

    def _wrap(self) -> None:
        if self.made is not None:
            room = self.query_one("#proof").scrollable_content_region.width
            self.query_one("#checks", Static).update(_proof(self.made, max(20, room - 1)))

    def show(self, made: Made) -> None:
        """Show this export as it is now."""
        if made == self.made:
            self.query_one("#export-head", Static).update(_head(made))  # its age goes on
            return
        another = self.made is None or made.export.id != self.made.export.id
        self.made = made
        self.query_one("#export-head", Static).update(_head(made))
        self._wrap()
        if another:
            self.query_one("#proof").scroll_home(animate=False)
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
        """Go to the commands, or to the proof where there are none."""
        commands = self.query_one("#commands", OptionList)
        (commands if commands.display else self.query_one("#proof")).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Taken())


class ExportWork(Vertical):
    """`show(part)`: the export that this window makes."""

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
        yield Static(Content.styled("s cancels it; nothing of it stays. Leaving the app cancels it too.", "$faint"))

    def show(self, run: str, part: Part | None, seconds: float) -> None:
        """How far it is; `part` is None until the process says something. `seconds` is the time since the start."""
        what = f"{part.target}{part.place}" if part else "beginning"
        self._say("#work-title", Content.assemble(("◐ ", "$accent bold"), (clean(f"{run}  {what}"), "bold")))
        words = f"{part.share:.0%}" if part and part.share is not None else formatting.duration(seconds)
        if part and part.seconds_left is not None:
            words += f" · {formatting.left(part.seconds_left)}"
        self.query_one(Bar).show(part.share if part else None, words, "$accent")
        self._say("#work-text", _stage(part))

    def _say(self, selector: str, text: Content) -> None:
        widget = self.query_one(selector, Static)
        if widget.content != text:
            widget.update(text)


def _stage(part: Part | None) -> Content:
    if part is None:
        return Content.styled("preparing …", "$faint")
    return Content.assemble(part.stage, "  ", (clean(part.text), "$faint"))


def _head(made: Made) -> Content:
    export = made.export
    sign, style = SIGN[export.state]
    head = Content.assemble(
        (f"{sign} {clean(model_name(export))}  {title(export)}", f"bold {style}"), "  ", (state_word(export), "bold")
    )
    figures = [formatting.size(export.bytes)] if export.bytes is not None else []
    if apart := divergence(export.proof.get("kl")):
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


def _proof(made: Made, width: int) -> Content:
    """A line a check, then the reason of a failure and the way out."""
    found, export = checks(made.export), made.export
    wide = max((len(check.name) for check in found), default=0)
    lines = [_line(check, wide, width) for check in found]
    if not found and export.state == "done":
        lines.append(Content.styled("Nobody has checked it.", "$faint"))
    if export.state == "working":
        lines.append(Content.styled("It is being made now; its proof comes last.", "$faint"))
    if export.error:
        lines.append(Content.assemble(("✗ ", "$error bold"), (clean(export.error), "$error")))
    if hint := advice(export):
        lines.append(Content.assemble(("→ ", "bold"), clean(hint)))
    return Content("\n").join(lines)


def _line(check: Check, wide: int, width: int) -> Content:
    """Sign, state, name and what was said, which goes on under itself; the sign alone where there is little room."""
    sign, style = SIGN.get(check.state, ("?", ""))
    state = f"{sign} {check.state:<7}  " if width >= _ROOMY else f"{sign} "
    head = Content.assemble((state, f"{style} bold"), f"{clean(check.name):<{wide}}  ")
    indent = head.cell_length
    said = Content.styled(clean(check.said), "$faint").wrap(max(10, width - indent))
    return head + Content("\n" + " " * indent).join(said)


def _command(program: str, line: str) -> Content:
    return Content.assemble((clean(program), "bold $primary"), "\n", clean(line))
