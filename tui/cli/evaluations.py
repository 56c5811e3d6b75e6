"""`tuningfork evaluations`: list, show, follow, resume, write and remove what was evaluated.
Reports are made by engine.evaluation; nothing is measured here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui.cli.command import Group
from tui.cli.options import yes_option
from tui.cli.output import Progress, columns, confirm, emit, emit_json, say, table
from tui.cli.session import session
from tui.formatting import ago, count
from tui.text import one_line

if TYPE_CHECKING:
    from store.evaluations import Evaluation
    from store.records import Job


@click.group(
    cls=Group,
    example="""
    tuningfork evaluations list
    tuningfork evaluations show 3
    tuningfork evaluations rows 3 --worse
    """,
)
def evaluations() -> None:
    """What was evaluated: list, show, follow, resume, write reports, remove."""


@evaluations.command("list", example="tuningfork evaluations list --json")
def list_() -> None:
    """List all evaluations, newest first."""
    from engine.core import jobs
    from engine.evaluation import evaluating
    from store import evaluations as kept

    store = session().store
    jobs.reap(store)
    found = kept.all_evaluations(store)
    if session().as_json:
        emit_json([_plain(each, evaluating.state(store, each)) for each in found])
        return
    if not found:
        say("There is no evaluation yet. Start one: tuningfork evaluate --model run:NAME --dataset NAME")
        return
    rows = [
        (each.id, ago(each.created_at), each.kind, each.name, each.plan.get("dataset"), f"{each.done}/{each.total}",
         evaluating.state(store, each))
        for each in found
    ]  # fmt: skip
    table(("id", "when", "kind", "name", "dataset", "answers", "state"), rows, right=("id", "answers"), wide="name")


@evaluations.command("show", example="tuningfork evaluations show 3 --price-in 0.15 --price-out 0.6")
@click.argument("number", type=int)
@click.option("--price-in", type=float, metavar="X", help="Price of a million prompt tokens.")
@click.option("--price-out", type=float, metavar="X", help="Price of a million answer tokens.")
def show(number: int, price_in: float | None, price_out: float | None) -> None:
    """Show the metrics of an evaluation with their intervals, and what follows from them."""
    from store import evaluations as kept
    from store.errors import Conflict

    found = kept.get(session().store, number)
    if found.report is None:
        raise Conflict(
            f"Evaluation {number} has {found.done} of {found.total} answers.",
            todo=f"Follow it: tuningfork evaluations watch {number}\n"
            f"Continue it if it was stopped: tuningfork evaluations resume {number}",
        )
    show_report(found, price_in, price_out)


@evaluations.command("rows", example="tuningfork evaluations rows 3 --worse --limit 10")
@click.argument("number", type=int)
@click.option("--part", help="Only this part: test, or a suite.")
@click.option("--worse", is_flag=True, help="Only rows where the model got worse than what it is compared with.")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="How many rows, 0 for all.")
def rows(number: int, part: str | None, worse: bool, limit: int) -> None:
    """Show the rows with all answers, those that got worse first."""
    from engine.evaluation import summary

    found = summary.row_scores(session().store, number, part)
    if worse:
        found = [each for each in found if each["difference"] is not None and each["difference"] < 0]
    shown = found[:limit] if limit else found
    if session().as_json:
        emit_json(shown)
        return
    if not found:
        say("No row got worse." if worse else "There is no answer yet.")
        return
    for each in shown:
        change = "" if each["difference"] is None else f"  {each['metric']} {each['difference']:+.3g}"
        emit(f"{each['part']} {each['row']}{change}")
        emit(f"  Q  {one_line(each['question'], 400)}")
        if each["reference"]:
            emit(f"  =  {one_line(each['reference'], 400)}")
        for answer in each["answers"]:
            emit(f"  {answer['side']}: {one_line(answer['text'], 400)}")
    if len(shown) < len(found):
        say(f"{len(shown)} of {count(len(found), 'row')}; --limit 0 shows all.")


@evaluations.command(
    "history",
    example="""
    tuningfork evaluations history
    tuningfork evaluations history --part knowledge --json
    tuningfork evaluations history --metric token_f1
    """,
)
@click.option("--part", help="Only this part: test, or a suite.")
@click.option("--metric", metavar="NAME", help="This metric instead of the one that decides; all for every one.")
def history(part: str | None, metric: str | None) -> None:
    """Plot how a metric moved from evaluation to evaluation, on the same rows.

    A line is one model's figure with its 95% interval, the newest last; figures on other rows are no match and stand in
    a plot of their own.
    """
    from dataclasses import asdict

    from engine.evaluation import history as past
    from engine.evaluation import metrics
    from store.errors import BadInput

    if metric not in (None, past.ALL, *metrics.NAMES):
        todo = f"Use all, or one of: {', '.join(metrics.NAMES)}."
        raise BadInput(f"There is no metric {metric!r}.", where="--metric", todo=todo)
    found = past.history(session().store, part=part, metric=metric)
    if session().as_json:
        emit_json([asdict(each) for each in found])
        return
    if not found:
        say("No finished evaluation has this figure. Start one: tuningfork evaluate --model run:NAME --dataset NAME")
        return
    for at, series in enumerate(found):
        emit(("\n" if at else "") + series.heading)
        for line in past.plot(series, columns()):
            emit(line)


@evaluations.command("watch", example="tuningfork evaluations watch 3")
@click.argument("number", type=int)
def watch(number: int) -> None:
    """Follow an evaluation to its end, then show it; Ctrl-C leaves it running."""
    show_report(follow(number))


@evaluations.command("resume", example="tuningfork evaluations resume 3")
@click.argument("number", type=int)
def resume(number: int) -> None:
    """Ask what an evaluation still misses; what was answered stays as it is."""
    from engine.evaluation import evaluating

    evaluating.resume(session().store, number)
    show_report(follow(number))


@evaluations.command("write", example="tuningfork evaluations write 3 --out report.html")
@click.argument("number", type=int)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE",
              help=".md, .html, .csv (one line per row and side) or .json.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def write(number: int, out: Path, force: bool) -> None:
    """Write the report of an evaluation as a file."""
    from engine.evaluation import report_files

    path = report_files.write(session().store, number, out, force=force)
    if session().as_json:
        emit_json({"evaluation": number, "path": str(path)})
    else:
        emit(f"Wrote {path}")


@evaluations.command("remove", example="tuningfork evaluations remove 3 --yes")
@click.argument("number", type=int)
@yes_option
def remove(number: int, yes: bool) -> None:
    """Delete an evaluation with all its answers."""
    from engine.evaluation import evaluating
    from store import evaluations as kept

    found = kept.get(session().store, number)
    confirm(f"Delete evaluation {number} of {found.name} with {count(found.done, 'answer')}?", yes)
    evaluating.remove(session().store, number)
    if session().as_json:
        emit_json({"removed": number})
    else:
        emit(f"Removed evaluation {number}.")


def follow(number: int, next_step: str | None = None) -> Evaluation:
    """Watch an evaluation's job with progress on stderr; `next_step` is what to type after an interrupt."""
    from engine.evaluation import evaluating

    here = session()
    here.on_interrupt = f"Evaluation {number} continues."
    here.next_step = next_step or f"Follow it again: tuningfork evaluations watch {number}{here.flags()}"
    with Progress("Asking") as bar:

        def on_progress(job: Job) -> None:
            now = job.progress
            if now.total:
                bar.update(now.done, now.total)
            else:
                bar.show(f"{now.stage or job.state}: {now.text}".removesuffix(": "))

        return evaluating.follow(here.store, number, on_progress)


def show_report(found: Evaluation, price_in: float | None = None, price_out: float | None = None) -> None:
    """Print a finished evaluation."""
    from engine.evaluation import ways
    from engine.evaluation.report_text import difference_words, value_words

    report = found.report or {}
    more = ways.table(report, price_in, price_out)
    advice = ways.advice(report)
    if session().as_json:
        emit_json({**report, "ways": more, "advice": advice})
        return
    emit(
        f"Evaluation {found.id}: {found.name}"
        + (f", {found.plan['dataset']} {found.plan['split']}" if found.plan.get("dataset") else "")
    )
    for part in report["parts"]:
        emit(f"\n{part['part']}: {count(part['rows'], 'row')}, answers of the type {part['type']}")
        sides = [side["side"] for side in report["sides"] if side["role"] != "floor"]
        lines = []
        for metric in part["metrics"]:
            values = {each["side"]: value_words(each, metric) for each in metric["values"]}
            said = [difference_words(each, metric) for each in metric["differences"] if each["side"] == sides[0]]
            lines.append((metric["title"], *(values[side] for side in sides), *(said or ["-"])))
        table(("metric", *sides, "difference"), lines)
        for side, wanted in part.get("confusion", {}).items():
            emit(f"\nConfusion of {side} (rows: wanted)")
            _confusion(wanted)
    if len(more) > 2 or price_in is not None:
        emit("\nWays, the best first")
        table(
            ("way", "value", "prompt tokens", "answer tokens", "seconds", "cost of 1,000"),
            [
                (w.side, w.value, f"{w.prompt_tokens:.0f}", f"{w.tokens:.0f}", f"{w.seconds:.2f}", w.cost_per_1000)
                for w in more
            ],
        )
    if advice:
        emit(f"\n{advice}")
    for note in report["notes"]:
        emit(f"Note: {note}")


def _confusion(wanted: dict[str, dict[str, int]]) -> None:
    given = list(dict.fromkeys([*wanted, *(label for row in wanted.values() for label in row)]))
    table(("", *given), [(label, *(row.get(each, 0) for each in given)) for label, row in wanted.items()], right=given)


def _plain(found: Evaluation, state: str) -> dict[str, Any]:
    return {
        "id": found.id, "name": found.name, "kind": found.kind, "state": state, "done": found.done,
        "total": found.total, "plan": found.plan, "job": found.job_id, "created_at": found.created_at,
        "ended_at": found.ended_at,
    }  # fmt: skip
