"""`tuningfork probe`: ask models the questions of a probe set and count the good answers.
Asking is in engine.evaluation.probes, judging in engine.evaluation.judges; results are kept in the store."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.evaluation import judges
from store.errors import BadInput
from tui.cli.asking import connect, together, warm
from tui.cli.command import Command
from tui.cli.data import assignment
from tui.cli.options import MODEL, sampling_of, sampling_options
from tui.cli.output import Progress, emit, emit_json, table
from tui.cli.session import session
from tui.cli.streams import STANDARD, input_file
from tui.formatting import count

if TYPE_CHECKING:
    from engine.evaluation.consistency import Consistency
    from engine.evaluation.judges import Judge
    from engine.evaluation.probes import ProbeOutcome, ProbeResult
    from engine.inference.sampling import Sampling
    from store.records import Probe

SAMPLE = "sample:"


@click.command(
    "probe",
    cls=Command,
    example="""
    tuningfork probe --model run:ember --against smollm2-135m --probes sample:retention
    tuningfork probe --model run:ember --probes sample:identity --set name=Ember --set author="Northwind Labs"
    tuningfork probe --model run:support --probes questions.jsonl --json
    tuningfork probe --model run:support --probes questions.jsonl --judge strict --seeds 5 --temperature 0.7
    """,
)
@click.option("--model", type=MODEL, required=True, metavar="REF", help="The model to ask.")
@click.option("--against", type=MODEL, metavar="REF", help="Another model to ask, such as its base.")
@click.option(
    "--probes", default="sample:retention", show_default=True, metavar="FILE",
    help="JSONL of `question`, `must`, `must_not`, `same`; sample:identity, :product, :retention; a saved set; -.",
)  # fmt: skip
@click.option(
    "--judge", "judge_name", default=judges.DEFAULT.name, show_default=True, metavar="NAME",
    help="What scores the answers. " + "; ".join(f"{each.name}: {each.help}" for each in judges.JUDGES.values()) + ".",
)  # fmt: skip
@click.option("--set", "variables", multiple=True, metavar="NAME=VALUE", help="Fill {{NAME}} in the probes.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, metavar="N",
              help="Ask each probe with N seeds, from --seed on, and say how consistent the answers are.")  # fmt: skip
@sampling_options
def probe(
    model: str, against: str | None, probes: str, judge_name: str, variables: tuple[str, ...], seeds: int, **given: Any
) -> None:
    """Score a model, or two, on a probe set.

    Each probe is a question with what a good answer must and must not contain. The results are kept in the store.

    Consistency is a figure of its own: the share of pairs of answers that give the same facts, among the answers to one
    probe with several seeds, and among the probes of a file that name the same group (`"same": "price"`), which ask for
    the same in other words.
    """
    from engine.evaluation import consistency
    from engine.models import refs

    sampling = sampling_of(given)
    if seeds > 1 and sampling.temperature == 0:
        what = "At temperature 0 every seed gives the same answer."
        raise BadInput(what, where="--seeds", todo="Add --temperature 0.7.")
    judge = judges.named(judge_name)
    asked = _probes(probes, judge, dict(assignment(text) for text in variables))
    models = [model, *([against] if against else [])]
    for ref in models:
        refs.resolve(session().store, ref)
    results = asyncio.run(_ask(models, asked, sampling, judge, seeds))
    same = {result.model: consistency.measure(asked, result.items) for result in results}
    for result in results:
        _keep(result, probes, sampling, seeds, same[result.model])
    if session().as_json:
        emit_json({"probes": probes, "judge": judge.name, "of": len(asked), "seed": sampling.seed, "seeds": seeds,
                   "model": _side(results[0], same),
                   "against": _side(results[1], same) if against else None})  # fmt: skip
    else:
        _print(results, seeds, same)


def _probes(name: str, judge: Judge, variables: dict[str, str]) -> list[Probe]:
    """The probes of a sample, a file, or a set that the store knows, with their placeholders filled.

    BadInput for a probe that `judge` cannot judge.
    """
    from engine.core import sample_files
    from engine.evaluation import probes as probing
    from store import probes as kept
    from store.formats import unfilled

    if name.startswith(SAMPLE):
        found = probing.load(sample_files.path("probes/" + name.removeprefix(SAMPLE).removeprefix("probes/")), judge)
    elif name != STANDARD and not Path(name).expanduser().exists() and name in kept.sets(session().store):
        found = kept.get_set(session().store, name)
        probing.check(found, judge, f"probe set {name}")
    else:
        with input_file(name) as path:
            found = probing.load(path, judge)
    found = probing.filled(found, variables)
    texts = (text for p in found for text in (p.question, p.system, *p.must, *p.must_not))
    if missing := unfilled("\n".join(texts)):
        values = " ".join(f"--set {each}=VALUE" for each in missing)
        raise BadInput(f"The placeholder {{{{{missing[0]}}}}} has no value.", where=name, todo=f"Add {values}.")
    return found


async def _ask(
    models: list[str], asked: list[Probe], sampling: Sampling, judge: Judge, seeds: int
) -> list[ProbeResult]:
    from engine.evaluation import probes as probing

    client = await connect(session().home)
    try:
        await warm(client, *models)
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


def _keep(result: ProbeResult, name: str, sampling: Sampling, seeds: int, same: Consistency | None) -> None:
    from engine.models import refs
    from store import evals

    parsed = refs.parse(result.model)
    run = parsed.value if parsed.kind == "run" else None
    summary = {"passed": result.passed, "of": result.of, "sampling": sampling.to_json()}
    if seeds > 1:
        summary["seeds"] = seeds
    if same is not None:
        summary["consistency"] = same.share
    evals.save(
        session().store, run=run, model=result.model, set=name, items=result.items, judge=result.judge, summary=summary
    )


def _side(result: ProbeResult, same: dict[str, Consistency | None]) -> dict[str, Any]:
    items = [asdict(item) for item in result.items]
    return {"model": result.model, "passed": result.passed, "of": result.of, "items": items,
            "consistency": same[result.model]}  # fmt: skip


def _print(results: list[ProbeResult], seeds: int, same: dict[str, Consistency | None]) -> None:
    marks = [[_mark(result.items[n : n + seeds]) for n in range(0, result.of, seeds)] for result in results]
    questions = [item.question for item in results[0].items[::seeds]]
    names = [result.model for result in results]
    table(("question", *names), zip(questions, *marks, strict=True), wide="question")
    for result in results:
        emit(f"{result.model}: {result.passed} of {result.of}")
        if found := same[result.model]:
            of = f"{count(len(found.groups), 'group')} of answers, {found.always} always the same"
            emit(f"{result.model}: consistency {found.share:.2f} ({of})")


def _mark(items: list[ProbeOutcome]) -> str:
    passed = sum(item.passed for item in items)
    return f"{passed} of {len(items)}" if len(items) > 1 else "yes" if passed else "no"
