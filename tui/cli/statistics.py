"""`tuningfork data stats`: what a dataset is made of, what that will teach, and what a run on it would take.
Counting pairs is store.curate.statistics', counting tokens engine.training.dataset_costs'."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from rich.cells import cell_len

from store.errors import TuningforkError
from tui.bars import bar, percent
from tui.cli.command import Command
from tui.cli.options import MODEL, dataset_option
from tui.cli.output import Progress, columns, emit, emit_json, say
from tui.cli.session import session
from tui.formatting import count, rows_of_preferences
from tui.text import one_line

if TYPE_CHECKING:
    from engine.training.dataset_costs import DatasetCosts
    from tui.statistics_lines import StatisticsLine

_LABEL, _BAR = 46, 30
_WIDEST = 100


@click.command(
    "stats",
    cls=Command,
    example="""
    tuningfork data stats --dataset support
    tuningfork data stats --dataset support --model ./my-model --recipe facts
    tuningfork data stats --dataset ember --json
    """,
)
@dataset_option
@click.option(
    "--model", type=MODEL, metavar="REF",
    help="Count tokens of this model, which is prepared first.  [default: the default model once it is prepared]",
)  # fmt: skip
@click.option("--recipe", metavar="NAME", help="The recipe whose steps and time are estimated.  [default: identity]")
def stats(dataset: str, model: str | None, recipe: str | None) -> None:
    """Count a dataset's rows, measure its pairs, and show what they will probably teach.

    Rows by kind, status, split and tag; lengths in characters and tokens; languages; how questions and answers
    begin, because a model learns a stock opening; which question forms an identity set has and which it lacks; the
    steps of a pass and the time of a run. What is measured is measured of the ready pairs.
    """
    from store import datasets
    from store.curate.statistics import as_json, statistics

    store = session().store
    there = datasets.get(store, dataset)
    members = datasets.members(store, dataset, status=None)
    with Progress("Measuring pair", len(members)) as progress:
        found = statistics(members, progress.update)
    costs, why = _costs(dataset, model, recipe)
    if session().as_json:
        rows = {"preferences": there.preferences, "feedback": there.feedback}
        emit_json({"dataset": dataset, **rows, **as_json(found), "tokens": costs.as_json() if costs else None,
                   "tokens_missing": why})  # fmt: skip
        return
    from tui.statistics_lines import cost_lines, lines

    emit(f"{dataset}: {count(found.pairs, 'pair')}")
    if judged := there.preferences + there.feedback:
        emit(f"{rows_of_preferences(judged)} beside them: tuningfork data preferences --dataset {dataset}")
    if not found.pairs:
        return
    _print([*lines(found), *(cost_lines(costs) if costs else [])])
    if why:
        say(why)


def _costs(dataset: str, model: str | None, recipe: str | None) -> tuple[DatasetCosts | None, str | None]:
    """What a run would read and take, or else why that is not known. Raises when a model was named."""
    from engine.training.dataset_costs import costs, prepared_default
    from engine.training.recipes import DEFAULT, config_for

    store = session().store
    named = model or prepared_default(store)
    if named is None:
        return None, "Tokens are not counted: the default model is not prepared. Name a model with --model REF."
    config = config_for(recipe or DEFAULT, named)
    try:
        with Progress("Counting tokens of row") as progress:
            found = costs(store, dataset, config, progress.show, progress.update)
    except TuningforkError as error:
        if model is not None:
            raise
        return None, f"Tokens are not counted: {error.what}"
    return found, None if found else "Tokens are not counted: no pair is ready to train on."


def _print(shown: list[StatisticsLine]) -> None:
    wide = min(columns(), _WIDEST) if sys.stdout.isatty() else _WIDEST
    most = max(12, min(_LABEL, wide - _BAR - 18)) if sys.stdout.isatty() else 10_000
    texts = {line.text: one_line(line.text, most) for line in shown if line.kind == "bar"}
    room = max((cell_len(text) for text in texts.values()), default=0)
    cells = max(8, min(_BAR, wide - room - 18))
    for line in shown:
        if line.kind != "bar":
            emit({"heading": "\n", "advice": "- "}.get(line.kind, "") + line.text)
            continue
        label = texts[line.text] + " " * (room - cell_len(texts[line.text]))
        drawn = bar(line.share / line.full, cells) + line.remark
        emit(f"  {label} {line.n:>7,} {percent(line.share):>4}  {drawn}".rstrip())
