"""The choices of a new run: what it learns from, which model, how. Sensible ones are made before anybody looks.
Makes a TrainConfig out of what is chosen; checks and starts are the screen's."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Static

from engine.models import default_model
from engine.training.config import TrainConfig
from engine.training.recipes import DEFAULT, RECIPES, config_for
from store.errors import BadInput
from tui import formatting, keys
from tui.screens.train.report import Check, Choices, free_name
from tui.text import clean, content
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field

_NUMBERS = (("length", "Length"), ("lr", "Rate"), ("rank", "Rank"), ("batch_size", "Batch"))


class Picker(Choice):
    """A choice whose values may be many: Enter lists them."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PICKER)

    class Asked(Message):
        """Enter was pressed on it."""

        def __init__(self, picker: Picker) -> None:
            super().__init__()
            self.picker = picker

    def action_pick(self) -> None:
        self.post_message(self.Asked(self))

    def offer(self, options: list[tuple[str, str]], value: str) -> None:
        """Offer other values."""
        self.options = options
        self.value = value
        self.refresh(layout=True)


class RunForm(VerticalScroll, can_focus=False):
    """`Changed` follows each change; `config()` is what would be trained."""

    DEFAULT_CSS = """
    RunForm {
        background: $surface;
        padding: 0 1;
        scrollbar-size-vertical: 1;
        & .form-title { text-style: bold; margin-bottom: 1; }
        & .form-row { height: 1; }
        & .form-label { width: 9; color: $faint; }
        & .form-hint { width: 1fr; color: $faint; padding-left: 1; }
        & .form-under { padding-left: 9; color: $faint; height: auto; }
        & Input { width: 12; background: $panel; }
        & #run-name { width: 30; }
        & #form-check { height: auto; margin-top: 1; }
        & #form-start { margin-top: 1; min-width: 14; }
        & #form-start:focus { text-style: bold reverse; }
    }
    """

    class Changed(Message):
        """Something was chosen or typed; the check is out of date."""

    class Start(Message):
        """The button was pressed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._choices = Choices((), (), frozenset())
        self._named = False

    def compose(self) -> ComposeResult:
        yield Static("New run", classes="form-title")
        with Horizontal(classes="form-row"):
            yield Static("Dataset", classes="form-label")
            yield Picker("", [("", "none")], id="dataset")
            yield Static(id="dataset-hint", classes="form-hint", markup=False)
        with Horizontal(classes="form-row"):
            yield Static("Model", classes="form-label")
            yield Picker("", [(default_model.NAME, default_model.NAME)], id="model")
        with Horizontal(classes="form-row"):
            yield Static("Recipe", classes="form-label")
            yield Choice("", [(name, name) for name in RECIPES], DEFAULT, id="recipe")
        yield Static(id="recipe-hint", classes="form-under", markup=False)
        with Horizontal(classes="form-row"):
            yield Static("Method", classes="form-label")
            yield Choice("", [("qlora", "QLoRA, 4 bit"), ("lora", "LoRA, 16 bit")], id="method")
        for name, label in _NUMBERS:
            with Horizontal(classes="form-row"):
                yield Static(label, classes="form-label")
                yield Field(id=name, compact=True, select_on_focus=True)
                yield Static(id=f"{name}-hint", classes="form-hint", markup=False)
        with Horizontal(classes="form-row"):
            yield Static("Name", classes="form-label")
            yield Field(id="run-name", compact=True, select_on_focus=True)
        yield Static(id="form-check", markup=False)
        yield Button("Start", variant="primary", compact=True, id="form-start")

    def on_mount(self) -> None:
        self._fill_numbers()

    # -- what can be chosen -------------------------------------------------------------------------------------------

    @property
    def dataset(self) -> str:
        """The dataset's name; empty when there is none."""
        return self.query_one("#dataset", Picker).value

    @property
    def model(self) -> str:
        return self.query_one("#model", Picker).value

    @property
    def run_name(self) -> str:
        return self.query_one("#run-name", Input).value.strip()

    def offer(self, choices: Choices, dataset: str = "", model: str = "") -> None:
        """Offer datasets and models; what was chosen before stays, else the given ones, else the first that will do."""
        self._choices = choices
        names = [d.name for d in choices.datasets]
        usable = [d.name for d in choices.datasets if d.ready]
        wanted = next((n for n in (self.dataset, dataset, *usable, *names) if n in names), "")
        models = list(choices.models)
        chosen = model or (self.model if self.model in models else (models or [default_model.NAME])[0])
        if chosen not in models:
            models.append(chosen)
        with self.prevent(Choice.Changed):
            self.query_one("#dataset", Picker).offer([(n, n) for n in names] or [("", "none")], wanted)
            self.query_one("#model", Picker).offer([(m, m) for m in models], chosen)
        self._rename()
        self._hints()
        self.post_message(self.Changed())

    def choose(self, field: str, value: str) -> None:
        """Choose a dataset or a model by hand."""
        picker = self.query_one(f"#{field}", Picker)
        if value not in [option for option, _ in picker.options]:
            picker.options.append((value, value))
        picker.value = value

    # -- what is chosen -----------------------------------------------------------------------------------------------

    def config(self) -> TrainConfig:
        """What would be trained. BadInput names the field that cannot be."""
        typed = {name: self.query_one(f"#{name}", Input).value.strip() for name, _ in _NUMBERS}
        steps, epochs = _length(typed["length"])
        recipe, rank = config_for(self.query_one("#recipe", Choice).value, self.model), _whole("rank", typed["rank"])
        return recipe.replace(
            lr=_number("lr", typed["lr"]),
            rank=rank,
            alpha=recipe.alpha * rank / recipe.rank,  # the same strength at another rank
            batch_size=_whole("batch_size", typed["batch_size"]),
            method=self.query_one("#method", Choice).value,
            steps=steps,
            epochs=recipe.epochs if epochs is None else epochs,
        )

    def field(self, name: str) -> Input | None:
        """The input of a field that an error names."""
        known = {"steps": "length", "epochs": "length", "name": "run-name"} | {field: field for field, _ in _NUMBERS}
        return self.query_one(f"#{known[name]}", Input) if name in known else None

    def say_check(self, text: Content) -> None:
        """Show what a check found."""
        self.query_one("#form-check", Static).update(text)

    def focus_start(self) -> None:
        """Put the focus on the button, so that Enter starts."""
        self.query_one("#form-start", Button).focus()

    # -- changes ------------------------------------------------------------------------------------------------------

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        event.stop()
        if event.choice.id in ("recipe", "model"):
            self._fill_numbers()
        if event.choice.id == "dataset":
            self._rename()
        self._hints()
        self.post_message(self.Changed())

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input.id == "run-name":
            self._named = bool(self.run_name) and self.run_name != free_name(self.dataset, self._choices.names)
        self._hints()
        self.post_message(self.Changed())

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.focus_start()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Start())

    def _fill_numbers(self) -> None:
        config = config_for(self.query_one("#recipe", Choice).value, self.model)
        numbers = {
            "length": f"{config.steps} steps" if config.steps else f"{config.epochs:g} epochs",
            "lr": f"{config.lr:.0e}".replace("e-0", "e-"),
            "rank": str(config.rank),
            "batch_size": str(config.batch_size),
        }
        with self.prevent(Input.Changed, Choice.Changed):
            for name, value in numbers.items():
                self.query_one(f"#{name}", Input).value = value
            self.query_one("#method", Choice).value = config.method

    def _rename(self) -> None:
        if self._named and self.run_name not in self._choices.names:
            return
        self._named = False
        with self.prevent(Input.Changed):
            self.query_one("#run-name", Input).value = free_name(self.dataset, self._choices.names)

    def _hints(self) -> None:
        found = next((d for d in self._choices.datasets if d.name == self.dataset), None)
        ready = formatting.count(found.ready, "ready pair") if found else ""
        hints = {
            "dataset": ready + (f", {found.val} to validate" if found and found.val else ""),
            "length": "or epochs: 3 epochs",
            "lr": "learning rate at its highest",
            "rank": "size of the adapter",
            "batch_size": "rows a step",
        }
        for name, hint in hints.items():
            self.query_one(f"#{name}-hint", Static).update(content(hint))
        self.query_one("#recipe-hint", Static).update(content(RECIPES[self.query_one("#recipe", Choice).value].summary))


def checked(check: Check) -> Content:
    """What a check found, in a few lines: good or not, what is learnt, what it costs."""
    found, cost = check.preflight, check.estimate
    lines = [
        Content.assemble(
            ("✓ " if found.ok else "✗ ", "$success bold" if found.ok else "$error bold"),
            f"{formatting.count(found.rows, 'row')}, {found.tokens:,} tokens, {found.trained_tokens:,} of them learnt",
        )
    ]
    lines += [Content.assemble(("✗ ", "$error bold"), clean(problem)) for problem in found.problems]
    lines += [Content.assemble(("! ", "$warning bold"), clean(note)) for note in found.notes]
    if found.truncated:
        cut = formatting.count(len(found.truncated), "row")
        lines.append(Content.assemble(("! ", "$warning bold"), f"{cut} too long: cut at the end"))
    if found.ok:
        takes = f"about {formatting.duration(cost.seconds)}, {formatting.size(cost.memory_bytes)} of memory"
        lines.append(Content.assemble(("≈ ", "$accent bold"), f"{formatting.count(cost.steps, 'step')}, {takes}"))
        if cost.note:
            lines.append(Content.styled(f"  {clean(cost.note)}", "$faint"))
    return Content("\n").join(lines)


def _length(typed: str) -> tuple[int | None, float | None]:
    """`40`, `40 steps` or `3 epochs`, as (steps, epochs)."""
    number, _, unit = typed.lower().partition(" ")
    if unit.strip() in ("epochs", "epoch", "e", "passes", "pass"):
        return None, _number("epochs", number)
    if unit.strip() in ("", "steps", "step", "s"):
        return _whole("steps", number), None
    raise BadInput(f"{typed!r} is no length.", where="steps", todo="Write `40 steps` or `3 epochs`.")


def _whole(name: str, typed: str) -> int:
    try:
        return int(typed)
    except ValueError:
        raise BadInput(f"{typed!r} is not a whole number.", where=name) from None


def _number(name: str, typed: str) -> float:
    try:
        return float(typed)
    except ValueError:
        raise BadInput(f"{typed!r} is not a number.", where=name) from None
