"""`tuningfork evaluate`: ask models the test rows of a dataset and measure the answers.
Starts and follows the job of engine.evaluation.evaluating; the result is printed by tui.cli.evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.cli.asking import announce
from tui.cli.command import Command
from tui.cli.options import DATASET, MODEL, SPLITS, sampling_of, sampling_options
from tui.cli.output import emit_json, say
from tui.cli.session import session
from tui.formatting import count

if TYPE_CHECKING:
    from engine.evaluation.evaluating import EvaluationPlan

TYPES = ("rating", "label", "short", "text")


@click.command(
    "evaluate",
    cls=Command,
    example="""
    tuningfork evaluate --model run:ember --against smollm2-135m --dataset support --split test
    tuningfork evaluate --model run:stars --against smollm2-135m --dataset reviews --type rating --floor
    tuningfork evaluate --model smollm2-135m --dataset support --ways
    """,
)
@click.option(
    "--model", "models", type=MODEL, multiple=True, required=True, metavar="REF", help="The model; repeatable."
)
@click.option("--against", type=MODEL, metavar="REF", help="What it is compared with, such as its base.")
@click.option("--dataset", type=DATASET, metavar="NAME", help="The dataset whose split is asked.")
@click.option("--split", type=SPLITS, default="test", show_default=True, help="The split to ask.")
@click.option("--suite", "suites", multiple=True, metavar="NAME",
              help="Also a suite: knowledge, arithmetic, format, refusal, instructions; repeatable.")  # fmt: skip
@click.option("--limit", type=click.IntRange(0), default=0, metavar="N", help="Ask only N rows of the split.")
@click.option("--type", "kind", type=click.Choice(TYPES), help="The type of the answers; else read off the references.")
@click.option("--metrics", metavar="NAMES", default="", help="Metrics instead of the type's own, separated by commas.")
@click.option("--floor", is_flag=True, help="Also ask --against twice with other seeds: the noise floor.")
@click.option("--ways", is_flag=True, help="Also with examples and with retrieval: should you tune at all?")
@click.option("--shots", type=click.IntRange(1, 32), default=4, show_default=True, help="Pairs that --ways shows.")
@click.option("--detach", is_flag=True, help="Start it and return; follow it with: tuningfork evaluations watch")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before texts leave this machine.")
@sampling_options
def evaluate(
    models: tuple[str, ...], against: str | None, dataset: str | None, split: Any, suites: tuple[str, ...], limit: int,
    kind: Any, metrics: str, floor: bool, ways: bool, shots: int, detach: bool, yes: bool, **given: Any,
) -> None:  # fmt: skip
    """Measure a model on rows that it has not seen, with honest intervals, beside its base.

    Every answer is generated once, in a job that outlives this terminal, and kept. Which metrics are used follows from
    the reference answers: ratings, labels, short answers or texts.
    """
    from engine.evaluation import evaluating
    from engine.evaluation import ways as five
    from engine.evaluation.evaluating import EvaluationRequest

    if dataset is None and not suites:
        raise BadInput("There is nothing to ask.", where="--dataset", todo="Add --dataset NAME or --suite NAME.")
    if ways and dataset is None:
        raise BadInput("--ways needs training pairs to show.", where="--ways", todo="Add --dataset NAME.")
    request = EvaluationRequest(
        models=models, against=against, dataset=dataset, split=split, suites=suites, limit=limit, type=kind,
        metrics=tuple(filter(None, (each.strip() for each in metrics.split(",")))), floor=floor,
        sampling=sampling_of(given),
    )  # fmt: skip
    if ways:
        request = replace(request, contexts=five.contexts(request, shots))
    start(evaluating.plan(session().store, request), detach=detach, yes=yes)


def start(planned: EvaluationPlan, *, detach: bool, yes: bool) -> int:
    """Submit a plan, follow it unless `detach`, and print its report; returns the evaluation's number."""
    from engine.evaluation import evaluating
    from tui.cli.evaluations import follow, show_report

    for note in planned.notes:
        say(f"Note: {note}")
    announce(f"The texts of {count(len(planned.rows), 'row')}", planned.leaves, yes)
    made = evaluating.submit(session().store, planned)
    say(f"Evaluation {made.id}: {count(planned.answers, 'answer')}, answers of the type {planned.type}.")
    if detach:
        if session().as_json:
            emit_json({"evaluation": made.id, "job": made.job_id})
        return made.id
    found = follow(made.id)
    show_report(found)
    return made.id


def ask(missing: Sequence[EvaluationPlan]) -> None:
    """Ask what no evaluation has yet, one job after the other, each followed to its end."""
    from engine.evaluation import reuse
    from tui.cli.evaluations import follow

    if not missing:
        say("Every answer is there already: nothing is asked.")
        return
    for each in missing:
        made = reuse.ask(session().store, each)
        there = f", {made.done} of them there already" if made.done else ""
        say(f"Evaluation {made.id}: {', '.join(reuse.parts(each.rows))}. {count(made.total, 'answer')}{there}.")
        follow(made.id, "Give the same command again to take it up.")
