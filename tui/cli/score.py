"""`tuningfork score`: what a reward model thinks of answers, and how often it agrees with preferences.
engine.training.scoring asks the model; nothing is computed here but the interval."""

from __future__ import annotations

from typing import Any

import click

from store.errors import BadInput
from tui.cli.command import Command
from tui.cli.options import DATASET
from tui.cli.output import Progress, emit, emit_json, table
from tui.cli.session import session
from tui.formatting import count
from tui.text import one_line


@click.command(
    "score",
    cls=Command,
    example="""
    tuningfork score run:judge --dataset prefs --split val
    tuningfork score run:judge --prompt "Who are you?" --text "I am Ember." --text "I am a model."
    tuningfork score run:judge --dataset votes --json
    """,
)
@click.argument("run", metavar="RUN")
@click.option("--dataset", type=DATASET, metavar="NAME", help="Score both answers of each preference of this dataset.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only those of one split.")
@click.option("--prompt", help="What was asked, for --text.")
@click.option("--text", "texts", multiple=True, help="An answer to score; give it again for more.")
def score(run: str, dataset: str | None, split: str | None, prompt: str | None, texts: tuple[str, ...]) -> None:
    """Score answers by a reward model: a run that was trained with --objective reward.

    For a dataset it says how often the model scores the chosen answer above the rejected one, with a 95% interval: half
    would be chance. Only differences between answers to one prompt mean something.
    """
    if bool(dataset) == bool(texts):
        raise BadInput("Give either --dataset, or --prompt and --text.", todo="See: tuningfork score --help")
    if texts:
        if prompt is None:
            raise BadInput("What was asked is missing.", where="--prompt", todo="Add --prompt TEXT.")
        _texts(run, prompt, texts)
    else:
        _dataset(run, str(dataset), split)


def _texts(run: str, prompt: str, texts: tuple[str, ...]) -> None:
    from engine.training.scoring import scores

    asked = {"role": "user", "content": prompt}
    answers = [[asked, {"role": "assistant", "content": text}] for text in texts]
    with Progress("Scoring", 0, "answers") as progress:
        made = scores(session().store, run, answers, progress.update)
    if session().as_json:
        emit_json([{"text": text, "score": value} for text, value in zip(texts, made, strict=True)])
        return
    ranked = sorted(zip(made, texts, strict=True), reverse=True)
    table(("score", "answer"), [(f"{value:+.3f}", one_line(text, 200)) for value, text in ranked], right=("score",))


def _dataset(run: str, dataset: str, split: str | None) -> None:
    from engine.evaluation.ranking import wilson
    from engine.training.scoring import agreement
    from store.preference_rows import rows_of

    store = session().store
    rows = [row for row in rows_of(store, dataset, "preference") if split in (None, row.split)]
    if not rows:
        where = f"dataset {dataset}" + (f", split {split}" if split else "")
        todo = f"Import some: tuningfork data import FILE --dataset {dataset}"
        raise BadInput("There is no preference to score.", where=where, todo=todo)
    with Progress("Scoring", 0, "answers") as progress:
        found = agreement(store, run, rows, progress.update)
    low, high = wilson(round(found.right), len(rows))
    if session().as_json:
        said: dict[str, Any] = {"run": run, "dataset": dataset, "split": split, "rows": len(rows)}
        emit_json(said | {"agree": found.share, "low": low, "high": high, "margin": found.margin,
                          "margins": list(found.margins)})  # fmt: skip
        return
    emit(
        f"{run} agrees with {found.share:.0%} ({low:.0%} to {high:.0%}) of {count(len(rows), 'preference')}; the chosen"
        f" answer scores {found.margin:+.3f} above the rejected one on average."
    )
