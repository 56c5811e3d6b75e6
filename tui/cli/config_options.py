"""The options that make up a run's configuration, for every command that needs one: one for each row of TrainConfig.
What a value may be is checked by engine.training.config; here it gets the name of its option."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from store.errors import BadInput
from tui.cli.options import MODEL, options_named
from tui.cli.output import say
from tui.cli.session import session

if TYPE_CHECKING:
    from engine.training.config import TrainConfig
    from engine.training.config_files import ConfigFile
    from engine.training.fields import TrainingField
    from engine.training.launchers import Launcher
    from engine.training.methods import TrainingMethod
    from engine.training.objectives import Objective
    from engine.training.recipes import Recipe

AUTO_RATE = "auto"
"""What `--lr` takes besides a number: the recipe's rate, and a trial around it (`lr_trial`)."""
_METAVARS = {"whole": "INTEGER", "number": "FLOAT", "names": "NAMES", "text": "TEXT"}


class FieldValue(click.ParamType):
    """A value of one field, read as the Train form reads it. `names` are what may be typed for a choice."""

    def __init__(self, field: TrainingField, names: Callable[[], Iterable[str]]) -> None:
        self.name = field.kind
        self._field, self._names = field, names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = tuple(self._names())
        if not isinstance(value, str) or value in names:
            return value
        if self._field.name == "lr" and value.strip().lower() == AUTO_RATE:
            return AUTO_RATE
        if names:
            self.fail(f"{self._field.label} is {value!r}; it must be one of {', '.join(names)}.", param, ctx)
        try:
            return self._field.parse(value)
        except BadInput as error:
            self.fail(error.what, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        names = tuple(self._names())
        return f"[{'|'.join(names)}]" if names else _METAVARS[self._field.kind]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]


def config_options(command: Any) -> Any:
    """Every setting of a run as an option; what is not given is the recipe's."""
    from engine.training.config import FIELDS

    for field in reversed(FIELDS.values()):
        command = _option(field)(command)
    return command


def how_options(command: Any) -> Any:
    """The settings that say how a run is computed and not what comes out: they may change when it is resumed."""
    from engine.training.config import FIELDS

    for field in reversed([field for field in FIELDS.values() if field.how]):
        command = _option(field)(command)
    return command


def _option(field: TrainingField) -> Any:
    from engine.models.default_model import NAME
    from engine.training.launchers import LAUNCHERS
    from engine.training.methods import METHODS
    from engine.training.objectives import OBJECTIVES
    from engine.training.recipes import DEFAULT, RECIPES

    name = f"--{field.name.replace('_', '-')}"
    named: dict[str, Mapping[str, Recipe | TrainingMethod | Objective | Launcher]] = {
        "recipe": RECIPES, "method": METHODS, "objective": OBJECTIVES, "launcher": LAUNCHERS
    }  # fmt: skip
    entries = named.get(field.name, {}).values()
    about = " ".join([field.help, *(f"{entry.name}: {entry.summary}" for entry in entries)])
    if field.name == "model":
        return click.option(name, type=MODEL, default=NAME, show_default=True, metavar="REF", help=about)
    if field.name == "recipe":
        return click.option(
            name, type=FieldValue(field, lambda: RECIPES), default=DEFAULT, show_default=True, help=about
        )
    if field.name == "lr":
        about += " auto: the recipe's, and a trial of three rates around it (--lr-trial)."
    if field.kind == "flag":
        return click.option(f"{name}/--no-{name[2:]}", default=None, help=about)
    return click.option(name, type=FieldValue(field, _methods if field.name == "method" else field.choices), help=about)


def _methods() -> dict[str, dict[str, Any]]:
    """Every method and variant that may be typed, with the fields that it sets."""
    from engine.training.methods import AUTO, METHODS

    named: dict[str, dict[str, Any]] = {name: {"method": name} for name in (AUTO, *METHODS)}
    for name, method in METHODS.items():
        named |= {variant: {"method": name, **changes} for variant, changes in method.variants.items()}
    return named


def _typed(option: str) -> bool:
    """Whether an option was given, rather than left at its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


def read_config(path: Path) -> ConfigFile:
    """Read a configuration file; it takes what the options take, names of variants and `lr: auto` included."""
    from engine.training import config_files

    return config_files.read(path, {"method": _methods(), "lr": (AUTO_RATE,)})


def config_of(given: dict[str, Any], file: ConfigFile | None = None) -> TrainConfig:
    """Take the configuration out of a command's keyword arguments; BadInput names the option that is wrong.

    What a file says stands under the options that were typed: which of them replaces what is told.
    """
    from engine.models import refs
    from engine.training.config import FIELDS
    from engine.training.continuing import base_of
    from engine.training.objectives import OBJECTIVES
    from engine.training.recipes import config_for

    values = {name: given.pop(name) for name in FIELDS if name in given}
    said: set[str] = set()
    emptied: dict[str, Any] = {}
    if file is not None:
        said = {name for name in file.values if not _typed(name)}
        for name in file.values.keys() - said:
            replaces(file, name, FIELDS[name].format(file.values[name]))
        values |= {name: file.values[name] for name in said}
        if "model" in said:
            values["model"] = refs.as_typed(values["model"])
        emptied = {name: None for name in said if file.values[name] is None}
    recipe, model, method = values.pop("recipe"), values.pop("model"), values.pop("method")
    if (objective := values.get("objective")) and not _typed("recipe") and "recipe" not in said:
        recipe = OBJECTIVES[objective].recipe
    if (on := values.get("on")) and not _typed("model") and "model" not in said:
        model = base_of(session().store, on)
    values |= _methods().get(method, {})
    if values.get("lr") == AUTO_RATE:  # the recipe's rate, and a trial around it
        values |= {"lr": None, "lr_trial": True}
    try:
        config = config_for(recipe, model, **values)
        return config.replace(**emptied) if emptied else config
    except BadInput as error:
        if file is not None and error.where in said:
            raise BadInput(error.what, where=file.place(error.where), todo=error.todo or "Correct that line.") from None
        with options_named():
            raise


def replaces(file: ConfigFile, name: str, value: str) -> None:
    """Tell that an option was typed which the file sets, too."""
    option = f"--{name.replace('_', '-')}"
    say(f"{option} replaces {name}: {value or 'empty'} ({file.place(name)}).")
