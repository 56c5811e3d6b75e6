"""The choices of an export: format, quants with their sizes, the step and where to put it.
Reports what is chosen; planning and starting are the screen's."""

from __future__ import annotations

from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Static

from engine.export import targets
from engine.export.request import AUTO
from engine.export.service import Planned, Request, Target
from engine.export.targets import ExportTarget
from store.errors import BadInput
from tui import formatting
from tui.export_summary import divergence
from tui.screens.export.report import Offer, RunExports
from tui.text import clean, content
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field
from tui.widgets.multi_choice import MultiChoice

DEFAULT, BEST = "gguf", ""


class ExportForm(VerticalScroll, can_focus=False):
    """`Changed` follows each change; `request()` is what would be made."""

    DEFAULT_CSS = """
    ExportForm {
        background: $surface;
        padding: 0 1;
        scrollbar-size-vertical: 1;
        & .form-row { height: auto; }
        & .form-label { width: 8; color: $faint; }
        & .form-under { padding-left: 8; color: $faint; height: auto; }
        & #export-title { height: auto; margin-bottom: 1; }
        & Input { width: 1fr; background: $panel; }
        & MultiChoice { width: 1fr; }
        & #export-found { height: auto; margin-top: 1; }
        & #export-start { margin-top: 1; min-width: 14; }
        & #export-start:focus { text-style: bold reverse; }
    }
    """

    class Changed(Message):
        """Something was chosen or typed; what was planned is out of date."""

    class Start(Message):
        """The button was pressed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run = ""

    def compose(self) -> ComposeResult:
        yield Static(id="export-title", markup=False)
        with Horizontal(classes="form-row"):
            yield Static("Format", classes="form-label")
            yield Choice("", [(name, name) for name in targets.REGISTRY], DEFAULT, id="format")
        yield Static(id="format-hint", classes="form-under", markup=False)
        with Horizontal(classes="form-row", id="step-row"):
            yield Static("Step", classes="form-label")
            yield Choice("", [(BEST, "the best")], id="step")
        with Horizontal(classes="form-row", id="quant-row"):
            yield Static("Quants", classes="form-label")
            yield MultiChoice(targets.get(DEFAULT).quants, [str(targets.get(DEFAULT).default_quant)], id="quants")
        with Horizontal(classes="form-row"):
            yield Static("Folder", classes="form-label")
            yield Field(id="out", compact=True, select_on_focus=True, placeholder="in the home, under exports")
        yield Static(id="export-found", markup=False)
        yield Button("Start export", variant="primary", compact=True, id="export-start")

    def on_mount(self) -> None:
        self._adapt()

    # -- what is chosen -----------------------------------------------------------------------------------------------

    @property
    def format(self) -> str:
        return self.query_one("#format", Choice).value

    @property
    def _target(self) -> ExportTarget:
        return targets.get(self.format)

    @property
    def quants(self) -> tuple[str, ...]:
        """The selected ones; empty for a format that has none."""
        return self.query_one(MultiChoice).chosen if self._target.quants else ()

    def request(self) -> Request:
        """What would be made. BadInput when nothing is selected."""
        if self._target.quants and not self.quants:
            raise BadInput("No quant is selected.", todo="Space selects the one under the cursor.")
        step, out = self.query_one("#step", Choice).value, self.query_one("#out", Input).value.strip()
        targets = tuple(Target(self.format, quant) for quant in self.quants) or (Target(self.format),)
        return Request(self._run + (f"@{step}" if step else ""), targets, out=Path(out) if out else None)

    def offer(self, listed_run: RunExports) -> None:
        """Offer this run. Another one begins with its best step; the other choices stay."""
        if listed_run.name == self._run and len(listed_run.steps) + 1 == len(self.query_one("#step", Choice).options):
            return
        step = self.query_one("#step", Choice)
        with self.prevent(Choice.Changed):
            step.options = [(BEST, "the best"), *((str(each), f"step {each}") for each in listed_run.steps)]
            step.value = BEST
        step.refresh(layout=True)
        self.query_one("#step-row").display = bool(listed_run.steps)
        self._run = listed_run.name
        self._title("")
        self.post_message(self.Changed())

    def choose_step(self, step: int | None) -> None:
        """Choose a step of the run that is offered; None is the best one."""
        choice = self.query_one("#step", Choice)
        wanted = BEST if step is None else str(step)
        if wanted in [value for value, _ in choice.options]:
            choice.value = wanted

    def focus_start(self) -> None:
        """Put the focus on the button, so that Enter starts."""
        self.query_one("#export-start", Button).focus()

    # -- what was found -----------------------------------------------------------------------------------------------

    def show(self, offer: Offer) -> None:
        """Show sizes, what is known of each quant, and what would be made."""
        self._title(offer.why)
        if self._target.quants:
            self.query_one(MultiChoice).note({p.target.quant: _note(p) for p in offer.quants if p.target.quant})
        self._found(_summary(offer))

    def say_problem(self, text: str) -> None:
        """Show why this cannot be made."""
        self._found(Content.assemble(("✗ ", "$error bold"), clean(text)))

    def _found(self, text: Content) -> None:
        self.query_one("#export-found", Static).update(text)

    def _title(self, why: str) -> None:
        head = Content.styled(f"Export {clean(self._run)}", "bold")
        self.query_one("#export-title", Static).update(head + "\n" + Content.styled(clean(why), "$faint"))

    # -- changes ------------------------------------------------------------------------------------------------------

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        event.stop()
        self._adapt()
        self.post_message(self.Changed())

    @on(MultiChoice.Changed)
    @on(Input.Changed)
    def _typed(self, event: Input.Changed | MultiChoice.Changed) -> None:
        event.stop()
        self.post_message(self.Changed())

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.focus_start()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Start())

    def _adapt(self) -> None:
        self.query_one("#format-hint", Static).update(content(self._target.help))
        self.query_one("#quant-row").display = bool(self._target.quants)
        choice = self.query_one(MultiChoice)
        if self._target.quants and self._target.quants != choice.values:
            choice.offer(self._target.quants, [str(self._target.default_quant)])


def _note(planned: Planned) -> Content:
    """`145 MB  KL 0.0004  mostly Q5_0  exists`"""
    if planned.target.quant == AUTO:
        return Content.styled("tries every quant; makes the smallest that is close", "$faint")
    words = [each for each in (planned.mostly, "exists" if planned.taken else "") if each]
    return Content.assemble(
        f"{formatting.size(planned.bytes):>6}",
        "  ",
        f"{divergence(planned.kl):<9}",
        ("".join(f"  {each}" for each in words), "$faint"),
    )


def _summary(offer: Offer) -> Content:
    """How large, where to, and what exists already."""
    chosen = offer.chosen
    where = offer.place(chosen[0].path if len(chosen) == 1 else chosen[0].folder.parent)
    files = "" if len(chosen) == 1 else f" in {formatting.count(len(chosen), 'export')}"
    lines = [
        Content.assemble(
            ("≈ ", "$accent bold"), f"{formatting.size(offer.bytes)}{files} to ", (clean(where), "$secondary")
        )
    ]
    taken = [planned.path.name for planned in chosen if planned.taken]
    if taken:
        lines.append(Content.assemble(("! ", "$warning bold"), clean(f"{', '.join(taken)} already exists.")))
    return Content("\n").join(lines)
