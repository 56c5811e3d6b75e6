"""The options that make up a run's configuration, for every command that needs one.
What a number may be is checked by engine.training.config; here it gets the name of its option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from tui.cli.options import MODEL, options_named

if TYPE_CHECKING:
    from engine.training.config import TrainConfig

_METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora"},
    "qlora": {"method": "qlora"},
    "dora": {"method": "lora", "dora": True},
    "qdora": {"method": "qlora", "dora": True},
}


def config_options(command: Any) -> Any:
    """Every number of a run; what is not given is the recipe's."""
    from engine.models.default_model import NAME
    from engine.training.config import Dtype, Packing, Scheduler
    from engine.training.recipes import DEFAULT, RECIPES

    recipes = "; ".join(f"{recipe.name}: {recipe.summary}" for recipe in RECIPES.values())
    for option in reversed((
        click.option("--model", type=MODEL, default=NAME, show_default=True, metavar="REF", help="The base model."),
        click.option("--recipe", type=click.Choice(list(RECIPES)), default=DEFAULT, show_default=True, help=recipes),
        click.option("--method", type=click.Choice(list(_METHODS)), help="How the adapter is trained."),
        click.option("--epochs", type=float, help="Passes over the data."),
        click.option("--steps", type=int, help="Optimizer steps, instead of epochs."),
        click.option("--lr", type=float, help="Learning rate."),
        click.option("--rank", type=int, help="Rank of the adapter."),
        click.option("--alpha", type=float, help="Scale of the adapter, over its rank."),
        click.option("--dropout", type=float, help="Dropout of the adapter."),
        click.option("--targets", metavar="NAMES", help="Modules to adapt, with commas, or all-linear."),
        click.option("--rslora", is_flag=True, default=None, help="Scale by the root of the rank."),
        click.option("--batch-size", type=int, help="Rows per optimizer step."),
        click.option("--max-length", type=int, help="Tokens of the longest row; longer ones are cut, and counted."),
        click.option("--scheduler", type=click.Choice(get_args(Scheduler)), help="How the rate falls."),
        click.option("--warmup", type=float, help="Ratio of the steps in which the rate rises."),
        click.option("--weight-decay", type=float, help="Decay of the adapter's weights."),
        click.option("--max-grad-norm", type=float, help="Clip gradients at this norm; 0 does not."),
        click.option("--dtype", type=click.Choice(get_args(Dtype)), help="Numbers to train in."),
        click.option("--packing", type=click.Choice(get_args(Packing)), help="How rows share a batch."),
        click.option("--seed", type=int, help="Same seed and data, same run."),
        click.option("--save-every", type=int, help="Steps between checkpoints; 0 saves at the end."),
        click.option("--keep-checkpoints", type=int, help="How many of them to keep."),
        click.option("--threads", type=int, help="CPU threads of the run."),
    )):  # fmt: skip
        command = option(command)
    return command


def config_of(given: dict[str, Any]) -> TrainConfig:
    """Take the configuration out of a command's keyword arguments; BadInput names the option that is wrong."""
    from engine.training.recipes import config_for

    recipe, model = given.pop("recipe"), given.pop("model")
    targets = given.get("targets")
    if targets is not None and targets != "all-linear":
        given["targets"] = tuple(name.strip() for name in targets.split(",") if name.strip())
    given |= _METHODS.get(given.pop("method") or "", {})
    with options_named():
        return config_for(recipe, model, **given)
