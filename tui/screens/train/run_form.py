"""The form of a new run: dataset, model, recipe, and a row for every field of TrainConfig. All are filled in already.
Makes a TrainConfig from what is chosen; checks and starts are the screen's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantBlur, DescendantFocus
from textual.message import Message
from textual.widgets import Button, Input, Static

from engine.models.default_model import NAME
from engine.training import run_control
from engine.training.config import FIELDS, TrainConfig, continued, used_by
from engine.training.fields import TrainingField
from engine.training.methods import AUTO, METHODS, TrainingMethod
from engine.training.objectives import OBJECTIVES, Objective
from engine.training.objectives.base import Data
from engine.training.recipes import DEFAULT, RECIPES, config_for
from store.errors import BadInput
from store.records import Dataset
from tui import formatting, keys
from tui.screens.train.report import Choices, RunCheck
from tui.text import clean, content
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field

_LENGTH = ("epochs", "steps")
"""Two fields that one row stands for: `40 steps` or `3 epochs`."""
_CHOSEN_ABOVE = ("model", "recipe")
_BASIC, _ADVANCED = (
    [field for field in FIELDS.values() if field.group == group and field.name not in (*_LENGTH, *_CHOSEN_ABOVE)]
    for group in ("basic", "advanced")
)
_LENGTH_HELP = "How long to train: 40 steps, or 3 epochs (passes over the data)."


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
        & .form-label { width: 15; color: $faint; }
        & .form-hint { width: 1fr; color: $faint; padding-left: 1; }
        & .form-under { padding-left: 2; color: $faint; height: auto; }
        & Input { width: 12; background: $panel; }
        & #run-name, & #targets { width: 30; }
        & #advanced { height: auto; display: none; }
        & #advanced.-open { display: block; }
        & #form-more { min-width: 20; }
        & #form-more:focus { text-style: bold reverse; }
        & #form-help { dock: bottom; height: auto; background: $surface; color: $faint; display: none; }
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
        self._filled: dict[str, str] = {}
        """What the recipe puts into each row; a row with another text was changed by the user."""

    def compose(self) -> ComposeResult:
        yield Static("New run", classes="form-title")
        with Horizontal(classes="form-row"):
            yield Static("Dataset", classes="form-label")
            yield Picker("", [("", "none")], id="dataset")
            yield Static(id="dataset-hint", classes="form-hint", markup=False)
        with Horizontal(classes="form-row"):
            yield Static("Model", classes="form-label")
            yield Picker("", [(NAME, NAME)], id="model")
        with Horizontal(classes="form-row"):
            yield Static("Recipe", classes="form-label")
            yield Choice("", [(name, name) for name in RECIPES], DEFAULT, id="recipe")
        yield Static(id="recipe-hint", classes="form-under", markup=False)
        for field in _BASIC:
            yield from self._row(field)
            if field.name == "method":
                yield from self._length_row()
        with Horizontal(classes="form-row"):
            yield Static("Name", classes="form-label")
            yield Field(id="run-name", compact=True, select_on_focus=True)
        yield Button("More settings", compact=True, id="form-more")
        with Vertical(id="advanced"):
            for field in _ADVANCED:
                yield from self._row(field)
        yield Static(id="form-check", markup=False)
        yield Button("Start", variant="primary", compact=True, id="form-start")
        yield Static(id="form-help", markup=False)

    def _row(self, field: TrainingField) -> ComposeResult:
        """Label, input and unit of one field of the configuration."""
        with Horizontal(classes="form-row", id=f"{field.name}-row"):
            yield Static(field.label, classes="form-label")
            if field.kind == "choice":
                yield Choice("", _offered(field), id=field.name)
            elif field.kind == "flag":
                yield Choice("", [("false", "no"), ("true", "yes")], id=field.name)
            else:
                yield Field(id=field.name, compact=True, select_on_focus=True, placeholder=_placeholder(field))
            yield Static(field.unit, classes="form-hint", markup=False)

    def _length_row(self) -> ComposeResult:
        with Horizontal(classes="form-row"):
            yield Static("Length", classes="form-label")
            yield Field(id="length", compact=True, select_on_focus=True)
            yield Static("such as 60 steps, or 3 epochs", classes="form-hint", markup=False)

    def on_mount(self) -> None:
        self._fill(everything=True)

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
        chosen = model or (self.model if self.model in models else (models or [NAME])[0])
        if chosen not in models:
            models.append(chosen)
        with self.prevent(Choice.Changed):
            self.query_one("#dataset", Picker).offer([(n, n) for n in names] or [("", "none")], wanted)
            self.query_one("#model", Picker).offer([(m, m) for m in models], chosen)
        self._rename()
        self._hints()
        self.post_message(self.Changed())

    def begin(self, choices: Choices, dataset: str, objective: str, model: str, on: str) -> None:
        """Fill in a new run on a dataset towards an objective, on top of `on` unless that is empty."""
        self.offer(choices, dataset, model)
        with self.prevent(Choice.Changed, Input.Changed):
            self.query_one("#dataset", Picker).value = dataset
            self.query_one("#recipe", Choice).value = OBJECTIVES[objective].recipe
            self._fill(everything=True)
            self.query_one("#on", Input).value = on
        self._rename()
        self.show_more(self.more or bool(on))  # what it continues is seen
        self.post_message(self.Changed())

    def choose(self, field: str, value: str) -> None:
        """Choose a dataset or a model from a list."""
        picker = self.query_one(f"#{field}", Picker)
        if value not in [option for option, _ in picker.options]:
            picker.options.append((value, value))
        picker.value = value

    # -- what is chosen -----------------------------------------------------------------------------------------------

    def config(self) -> TrainConfig:
        """What would be trained. BadInput names the field that cannot be."""
        recipe = self._recipe()
        rows = [field for field in (*_BASIC, *_ADVANCED) if self._is_used(field.name)]
        values = {field.name: field.parse(self._text(field.name)) for field in rows if self._is_changed(field.name)}
        if "rank" in values and not self._is_changed("alpha"):
            values["alpha"] = recipe.alpha * values["rank"] / recipe.rank  # the same strength at another rank
        if self._is_changed("length"):
            values |= _length(self._text("length"))
        return recipe.replace(**values)

    def show_field(self, name: str) -> None:
        """Put the focus on the row of a field that an error names, also when it is among those not shown."""
        row = {"steps": "length", "epochs": "length", "name": "run-name"}.get(name, name)
        if row in ("length", "run-name") or row in (*FIELDS, "dataset"):
            self.show_more(self.more or row in [field.name for field in _ADVANCED])
            self.query_one(f"#{row}").focus()

    def _text(self, name: str) -> str:
        """The text or choice of a row."""
        widget = self.query_one(f"#{name}")
        assert isinstance(widget, Choice | Input)
        return widget.value.strip()

    def _is_used(self, name: str) -> bool:
        """Whether the method and the objective that are chosen read a field, and `on` does not decide it."""
        method = self._text("method")
        decided = bool(self._text("on")) and name in continued(method)
        return not decided and used_by(method, name, self._text("objective"))

    def _is_changed(self, name: str) -> bool:
        return self._text(name) != self._filled.get(name, "")

    # -- the rows that are rarely changed ---------------------------------------------------------------------------

    @property
    def more(self) -> bool:
        """Whether all settings are shown."""
        return self.query_one("#advanced").has_class("-open")

    def show_more(self, more: bool) -> None:
        """Show all settings, or only the basic ones."""
        hidden = self.query_one("#advanced")
        focused = self.screen.focused
        if not more and focused is not None and hidden in focused.ancestors:
            self.query_one("#form-more").focus()
        hidden.set_class(more, "-open")
        self._hints()

    def show_check(self, text: Content) -> None:
        """Show what a check found."""
        self.query_one("#form-check", Static).update(text)

    def focus_start(self) -> None:
        """Put the focus on the button, so that Enter starts."""
        self.query_one("#form-start", Button).focus()

    # -- changes ------------------------------------------------------------------------------------------------------

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        event.stop()
        if event.choice.id == "objective":
            self._follow_objective(event.choice.value)
        if event.choice.id in (*_CHOSEN_ABOVE, "method"):  # its learning rate follows the method
            self._fill(everything=event.choice.id == "recipe")
        if event.choice.id == "dataset":
            self._rename()
        self._hints()
        self.post_message(self.Changed())

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input.id == "run-name":
            free = run_control.free_name(self.dataset, self._choices.names)
            self._named = bool(self.run_name) and self.run_name != free
        if event.input.id == "rank":
            self._follow_rank()
        self._hints()
        self.post_message(self.Changed())

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.focus_start()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "form-more":
            self.show_more(not self.more)
        else:
            self.post_message(self.Start())

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self._explain(event.widget.id or "")

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        self._explain("")

    def _explain(self, row: str) -> None:
        """What the field under the focus is for, and what it may be."""
        text = _LENGTH_HELP if row == "length" else ""
        if row in FIELDS and row not in _CHOSEN_ABOVE:
            field = FIELDS[row]
            text = (
                field.help
                if field.kind in ("flag", "choice")
                else f"{field.help} {field.range[0].upper()}{field.range[1:]}."
            )
        shown = self.query_one("#form-help", Static)
        shown.update(content(text))
        shown.display = bool(text)

    def _recipe(self) -> TrainConfig:
        """The recipe's values for the model and the method that is chosen."""
        method = self._text("method") if self._is_changed("method") else None
        return config_for(self.query_one("#recipe", Choice).value, self.model, method=method)

    def _fill(self, *, everything: bool) -> None:
        """Put the recipe's values into the rows: into all of them, or into those that the user has not changed."""
        own = config_for(self.query_one("#recipe", Choice).value, self.model)
        config = own if everything else self._recipe()
        values = {field.name: field.format(getattr(config, field.name)) for field in (*_BASIC, *_ADVANCED)}
        values["method"] = own.method
        values["length"] = f"{config.steps} steps" if config.steps else f"{config.epochs:g} epochs"
        changed = set() if everything else {name for name in values if self._is_changed(name)}
        self._filled = values
        with self.prevent(Input.Changed, Choice.Changed):
            for name in values.keys() - changed:
                widget = self.query_one(f"#{name}")
                assert isinstance(widget, Choice | Input)
                widget.value = values[name]
        if "rank" in changed:
            self._follow_rank()

    def _follow_objective(self, objective: str) -> None:
        """Take a recipe that is made for the objective, unless the one that is chosen is."""
        recipe = self.query_one("#recipe", Choice)
        if config_for(recipe.value, self.model).objective != objective:
            with self.prevent(Choice.Changed):
                recipe.value = OBJECTIVES[objective].recipe
            self._fill(everything=False)

    def _follow_rank(self) -> None:
        """Keep the adapter's strength at another rank, unless the user set it."""
        if self._is_changed("alpha"):
            return
        recipe = self._recipe()
        try:
            rank = FIELDS["rank"].parse(self._text("rank"))
        except BadInput:
            return
        self._filled["alpha"] = FIELDS["alpha"].format(recipe.alpha * rank / recipe.rank)
        with self.prevent(Input.Changed):
            self.query_one("#alpha", Input).value = self._filled["alpha"]

    def _rename(self) -> None:
        if self._named and self.run_name not in self._choices.names:
            return
        self._named = False
        with self.prevent(Input.Changed):
            self.query_one("#run-name", Input).value = run_control.free_name(self.dataset, self._choices.names)

    def _hints(self) -> None:
        found = next((d for d in self._choices.datasets if d.name == self.dataset), None)
        hint = _rows_of(found, OBJECTIVES[self._text("objective")].needs) if found else ""
        self.query_one("#dataset-hint", Static).update(content(hint))
        self.query_one("#recipe-hint", Static).update(content(RECIPES[self.query_one("#recipe", Choice).value].summary))
        for field in (*_BASIC, *_ADVANCED):
            self.query_one(f"#{field.name}-row").display = self._is_used(field.name)
        changed = sum(self._is_changed(field.name) for field in _ADVANCED if self._is_used(field.name))
        more = "Fewer settings" if self.more else "More settings"
        self.query_one("#form-more", Button).label = more + (f", {changed} changed" if changed else "")


def checked(check: RunCheck) -> Content:
    """What a check found, in a few lines: good or not, what is trained, time and memory."""
    found, cost = check.preflight, check.estimate
    lines = [
        Content.assemble(
            ("✓ " if found.ok else "✗ ", "$success bold" if found.ok else "$error bold"),
            f"{formatting.count(found.rows, 'row')}, {found.tokens:,} tokens, {found.trained_tokens:,} of them trained",
        )
    ]
    if found.turns > found.rows:  # conversations: several answers in a row
        lines.append(Content(f"  {found.trained_turns:,} of {found.turns:,} answers are trained"))
    lines += [Content.assemble(("✗ ", "$error bold"), clean(problem)) for problem in found.problems]
    lines += [Content.assemble(("! ", "$warning bold"), clean(note)) for note in found.notes]
    if found.truncated:
        cut = formatting.count(len(found.truncated), "row")
        lines.append(Content.assemble(("! ", "$warning bold"), f"{cut} too long: the end is cut off"))
    if found.ok:
        takes = f"about {formatting.duration(cost.seconds)}, {formatting.size(cost.memory_bytes)} of memory"
        lines.append(Content.assemble(("≈ ", "$accent bold"), f"{formatting.count(cost.steps, 'step')}, {takes}"))
        lines += [Content.styled(f"  {clean(text)}", "$faint") for text in (cost.why, cost.note) if text]
    return Content("\n").join(lines)


def _offered(field: TrainingField) -> list[tuple[str, str]]:
    """The values of a choice, with the titles of those that have one."""
    titled: dict[str, Mapping[str, TrainingMethod | Objective]] = {"method": METHODS, "objective": OBJECTIVES}
    titles = {AUTO: "LoRA if it fits"} if field.name == "method" else {}
    titles |= {name: entry.title for name, entry in titled.get(field.name, {}).items()}
    return [(value, titles.get(value, value)) for value in field.choices()]


def _rows_of(dataset: Dataset, needs: Data) -> str:
    """How many rows an objective finds in a dataset."""
    if needs != "pairs":
        return (
            formatting.count(dataset.preferences, "preference")
            if needs == "preferences"
            else (formatting.count(dataset.feedback, "judged answer"))
        )
    return formatting.count(dataset.ready, "ready pair") + (f", {dataset.val:,} val" if dataset.val else "")


def _placeholder(field: TrainingField) -> str:
    return "auto" if field.empty else ""


def _length(typed: str) -> dict[str, Any]:
    """`40`, `40 steps` or `3 epochs`, as fields."""
    number, _, unit = typed.lower().partition(" ")
    if number and unit.strip() in ("epochs", "epoch", "e", "passes", "pass"):
        return {"steps": None, "epochs": FIELDS["epochs"].parse(number)}
    if number and unit.strip() in ("", "steps", "step", "s"):
        return {"steps": FIELDS["steps"].parse(number)}
    raise BadInput(f"Length is {typed!r}; it must be a number of steps or epochs.", where="steps",
                   todo="Write `40 steps` or `3 epochs`.")  # fmt: skip
