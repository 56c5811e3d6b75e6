"""`tuningfork probe`: ask models the questions of a probe set and count the good answers.
Asking is in engine.evaluation.probes, judging in engine.evaluation.judges; results are kept in the store."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.evaluation import judges
from store.errors import BadInput
from store.probe_files import MOST
from tui.cli.asking import announce, connect, together, warm
from tui.cli.command import Command
from tui.cli.data import assignment
from tui.cli.options import MODEL, sampling_of, sampling_options
from tui.cli.output import Progress, emit, emit_json, say, table
from tui.cli.session import session
from tui.cli.streams import STANDARD, input_file
from tui.formatting import count
from tui.text import one_line

if TYPE_CHECKING:
    from engine.evaluation.consistency import Consistency
    from engine.evaluation.probes import ProbeJudges, ProbeOutcome, ProbeResult
    from engine.inference.sampling import Sampling
    from store.records import Probe


def _print_rubric(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the rubric and end, before the other options are looked at."""
    if wanted and not context.resilient_parsing:
        from engine.evaluation.judges.model import default_rubric

        emit(default_rubric())
        context.exit()


@click.command(
    "probe",
    cls=Command,
    example="""
    tuningfork probe --model run:ember --against smollm2-135m --probes sample:retention
    tuningfork probe --model run:ember --probes sample:identity --set name=Ember --set author="Northwind Labs"
    tuningfork probe --model run:support --probes questions.jsonl --json
    tuningfork probe --model run:support --probes questions.jsonl --judge strict --seeds 5 --temperature 0.7
    tuningfork probe --model run:support --probes questions.jsonl --judge model --judge-model REF --rubric rubric.md
    """,
)
@click.option("--model", type=MODEL, required=True, metavar="REF", help="The model to ask.")
@click.option("--against", type=MODEL, metavar="REF", help="Another model to ask, such as its base.")
@click.option(
    "--probes", default="sample:retention", show_default=True, metavar="FILE",
    help="JSONL of `question`, `must`, `must_not`, `same`, `judge`, `rubric`, `reference`; sample:identity, :product, "
    ":retention; a set of yours by its name; -.",
)  # fmt: skip
@click.option(
    "--judge", "judge_name", default=judges.DEFAULT.name, show_default=True, metavar="NAME",
    help="What scores the answers, where a probe names nothing else. "
    + "; ".join(f"{each.name}: {each.help}" for each in judges.JUDGES.values()) + ".",
)  # fmt: skip
@click.option("--judge-model", type=MODEL, metavar="REF", help="The model that the judge `model` asks.")
@click.option("--rubric", metavar="FILE", help="The rubric of the judge `model`, where neither probe nor set has one.")
@click.option("--print-rubric", is_flag=True, is_eager=True, expose_value=False, callback=_print_rubric,
              help="Print the rubric that is used without --rubric, and end.")  # fmt: skip
@click.option("--set", "variables", multiple=True, metavar="NAME=VALUE", help="Fill {{NAME}} in the probes.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, metavar="N",
              help="Ask each probe with N seeds, from --seed on, and say how consistent the answers are.")  # fmt: skip
@click.option("--yes", "-y", is_flag=True, help="Do not ask before texts leave this machine for the judge.")
@sampling_options
def probe(
    model: str, against: str | None, probes: str, judge_name: str, judge_model: str | None, rubric: str | None,
    variables: tuple[str, ...], seeds: int, yes: bool, **given: Any,
) -> None:  # fmt: skip
    """Score a model, or two, on a probe set.

    Each probe is a question with what a good answer must and must not contain. The results are kept in the store.

    The judge `model` has a model give each answer a score from 0 to 10 by a rubric, with a reason; from 7 on it passes.
    A first line of the file such as {"judge": "model", "rubric": "…", "pass_at": 8} holds for the whole set, `judge`,
    `rubric` and `reference` (a good answer) of a probe for that probe. An answer whose judging fails is not judged: it
    counts neither as passed nor as failed. Begin a rubric of your own with: tuningfork probe --print-rubric > rubric.md

    Consistency is a figure of its own: the share of pairs of answers that give the same facts, among the answers to one
    probe with several seeds, and among the probes of a file that name the same group (`"same": "price"`), which ask for
    the same in other words.
    """
    from engine.evaluation import consistency
    from engine.evaluation.judges.model import ModelJudge
    from engine.evaluation.probes import ProbeJudges, keep
    from engine.models import refs

    sampling = sampling_of(given)
    if seeds > 1 and sampling.temperature == 0:
        what = "At temperature 0 every seed gives the same answer."
        raise BadInput(what, where="--seeds", todo="Add --temperature 0.7.")
    values = dict(assignment(text) for text in variables)
    by_model = ModelJudge(judge_model or "", _rubric(rubric, values))
    every = ProbeJudges(judges.named(judge_name), by_model)
    asked = _probes(probes, every, values)
    models = [model, *([against] if against else [])]
    for ref in [*models, *([judge_model] if judge_model else [])]:
        refs.resolve(session().store, ref)
    judged = [probe for probe in asked if every.asks(probe)]
    _check_used(judged, judge_model, rubric)
    if judge_model:
        announce(f"The questions, answers and rubrics of {count(len(judged), 'probe')}", [judge_model], yes)
    results = asyncio.run(_ask(models, asked, sampling, every, seeds, judge_model))
    if by_model.free:
        say(f"{judge_model} takes no JSON schema: it was asked to judge without one.")
    same = {result.model: consistency.measure(asked, result.items) for result in results}
    for result in results:
        found = same[result.model]
        share = None if found is None else found.share
        keep(session().store, result, probes, sampling, every.basis(asked), seeds=seeds, consistency=share)
    if session().as_json:
        emit_json({"probes": probes, "judge": every.names(asked), "judge_model": judge_model, "of": len(asked),
                   "seed": sampling.seed, "seeds": seeds, "model": _side(results[0], same),
                   "against": _side(results[1], same) if against else None, "both": _both(results)})  # fmt: skip
    else:
        _print(results, seeds, same, [every.asks(probe) for probe in asked])


def _rubric(file: str | None, variables: dict[str, str]) -> str:
    """The text of a rubric's file with its placeholders filled; "" without one."""
    from engine.evaluation import rubrics

    if file is None:
        return ""
    with input_file(file) as path:
        return rubrics.read(path, file, variables)


def _check_filled(text: str, where: str) -> None:
    """BadInput, with what to add, for a placeholder without a value."""
    from store.formats import unfilled

    if missing := unfilled(text):
        values = " ".join(f"--set {each}=VALUE" for each in missing)
        raise BadInput(f"The placeholder {{{{{missing[0]}}}}} has no value.", where=where, todo=f"Add {values}.")


def _check_used(judged: list[Probe], judge_model: str | None, rubric: str | None) -> None:
    """BadInput for an option that would be ignored. `judged` are the probes that a model judges."""
    if judge_model and not judged:
        what, todo = "No probe is judged by a model.", "Add --judge model, or leave out --judge-model."
        raise BadInput(what, where="--judge-model", todo=todo)
    if rubric and all(probe.rubric for probe in judged):
        what = "Every probe that is judged by a model has a rubric of its own." if judged else "No model judges."
        raise BadInput(what, where="--rubric", todo="Leave it out.")


def _probes(name: str, judge: ProbeJudges, variables: dict[str, str]) -> list[Probe]:
    """The probes of a sample, a file, or a set that the home knows, with their placeholders filled.

    BadInput for a probe that its judge cannot judge.
    """
    from engine.core import sample_files
    from engine.evaluation import probes as probing
    from store import probe_files, probe_sets

    if (sample := sample_files.find(name, "probes/")) is not None:
        found = probing.load(sample, judge)
    elif name != STANDARD and not Path(name).expanduser().exists() and not probe_files.is_path(name):
        found = probe_sets.find(session().store, name, probing.checking(judge))
    else:
        with input_file(name) as path:
            found = probing.load(path, judge)
    found = probing.filled(found, variables)
    texts = (text for p in found for text in (p.question, p.system, p.rubric, p.reference, *p.must, *p.must_not))
    _check_filled("\n".join(texts), name)
    return found


async def _ask(
    models: list[str], asked: list[Probe], sampling: Sampling, judge: ProbeJudges, seeds: int, judge_model: str | None
) -> list[ProbeResult]:
    from engine.evaluation import probes as probing

    client = await connect(session().home)
    try:
        await warm(client, *models, *([judge_model] if judge_model else []))
        done = dict.fromkeys(models, 0)
        with Progress("Asking", len(asked) * len(models) * seeds, "answers") as progress:

            def on_progress(ref: str) -> Any:
                def show(n: int, *_: Any) -> None:
                    done[ref] = n
                    progress.update(sum(done.values()))

                return show

            work = [
                probing.run(client, ref, asked, sampling, on_progress(ref), judge, seeds)
                for ref in dict.fromkeys(models)
            ]
            found = {result.model: result for result in await together(*work)}
        return [found[ref] for ref in models]
    finally:
        await client.close()


def _side(result: ProbeResult, same: dict[str, Consistency | None]) -> dict[str, Any]:
    items = [asdict(item) for item in result.items]
    return {"model": result.model, "passed": result.passed, "of": result.of, "not_judged": result.not_judged,
            "items": items, "consistency": same[result.model]}  # fmt: skip


def _both(results: list[ProbeResult]) -> dict[str, int] | None:
    """How both sides did on the answers that were judged on both; None where nothing is compared, or all was judged."""
    if len(results) < 2 or not any(result.not_judged for result in results):
        return None
    pairs = zip(results[0].items, results[1].items, strict=True)
    known = [(bool(a.passed), bool(b.passed)) for a, b in pairs if a.passed is not None and b.passed is not None]
    return {"of": len(known), "model": sum(a for a, _ in known), "against": sum(b for _, b in known)}


def _print(results: list[ProbeResult], seeds: int, same: dict[str, Consistency | None], graded: list[bool]) -> None:
    """The table of the probes, of which a model judges those that are `graded`, and the sums under it. With one answer
    to each there is space for the reasons that a model gave."""
    marks = [
        [_mark(result.items[n * seeds : (n + 1) * seeds], by_model) for n, by_model in enumerate(graded)]
        for result in results
    ]
    questions = [item.question for item in results[0].items[::seeds]]
    names = [result.model for result in results]
    if any(graded) and len(results) == seeds == 1:
        reasons = [item.reason for item in results[0].items]
        table(("question", *names, "reason"), zip(questions, *marks, reasons, strict=True), wide="reason")
    else:
        table(("question", *names), zip(questions, *marks, strict=True), wide="question")
    for result in results:
        emit(f"{result.model}: {result.passed} of {result.of}{_left_out(result.not_judged)}")
        for reason, many in Counter(item.reason for item in result.items if item.passed is None).most_common():
            emit(f"  not judged: {one_line(reason, 200)} ({count(many, 'answer')})")
        if found := same[result.model]:
            of = f"{count(len(found.groups), 'group')} of answers, {found.always} always the same"
            emit(f"{result.model}: consistency {found.share:.2f} ({of}){_left_out(found.not_judged)}")
    if both := _both(results):
        a, b = (result.model for result in results)
        emit(f"Judged on both sides: {both['of']}, of which {a} {both['model']}, {b} {both['against']}")


def _left_out(many: int) -> str:
    return f", {many} not judged" if many else ""


def _mark(items: list[ProbeOutcome], graded: bool) -> str:
    """`yes`, or `3 of 4, 1 not judged`; `yes (8)` where a model gave a score."""
    judged = [item.passed for item in items if item.passed is not None]
    if len(items) > 1:
        return f"{sum(judged)} of {len(judged)}{_left_out(len(items) - len(judged))}"
    if not judged:
        return "not judged"
    score = f" ({MOST * (items[0].score or 0):.3g})" if graded else ""
    return ("yes" if judged[0] else "no") + score
