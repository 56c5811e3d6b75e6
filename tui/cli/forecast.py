"""`tuningfork forecast`: before a run, what a base knows already and what the data will teach it.
Asking and judging are engine.evaluation.forecast's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from engine.models.default_model import NAME
from store.errors import BadInput
from tui.cli.asking import connect, warm
from tui.cli.command import Command
from tui.cli.options import MODEL, dataset_option
from tui.cli.output import Progress, emit, emit_json, say, table
from tui.cli.session import session
from tui.formatting import count
from tui.text import clean, one_line

if TYPE_CHECKING:
    from engine.evaluation.forecast import Forecast
    from store.records import Pair, Probe

MEANINGS = {
    "known already": "the base answers them without training.",
    "will learn": "the data has questions like them, or the base answers them after a few examples.",
    "lacks wordings": "the data has the answer, but no question like them.",
    "another language": "the data has the answer, but not in the language of the question.",
    "not in the data": "no answer of the data contains what they look for.",
}
"""What each forecast says of a probe."""


@click.command(
    "forecast",
    cls=Command,
    example="""
    tuningfork forecast --dataset ember
    tuningfork forecast --dataset support --probes questions.jsonl --drafts
    """,
)
@dataset_option
@click.option("--model", type=MODEL, default=NAME, show_default=True, metavar="REF", help="The base model.")
@click.option(
    "--probes", default="identity,general", show_default=True, metavar="SETS",
    help="Built-in sets (identity, general), sets of yours or files, separated by commas.",
)  # fmt: skip
@click.option("--drafts", is_flag=True, help="Add draft pairs with the missing wordings to the dataset.")
def forecast(dataset: str, model: str, probes: str, drafts: bool) -> None:
    """Say for each probe whether the base knows it already, will learn it, or the data lacks wordings like it.

    Each probe is put to the base alone and after examples of the data. What the data answers in another language only
    is said, too. A pair made from a probe makes that probe a training question: score the run with other ones.
    """
    from engine.training import watched_probes
    from store import datasets
    from store import pairs as kept

    store = session().store
    rows = datasets.snapshot_rows(store, datasets.freeze(store, dataset).hash)
    sets, notes = watched_probes.read(store, probes, rows)
    for note in notes:
        say(note)
    asked = [probe for each in sets.values() for probe in each]
    if not asked:
        raise BadInput("There is no probe to ask.", where="--probes", todo="Name a probe set or a file.")
    pairs = [pair for pair, _ in datasets.members(store, dataset, split="train")]
    found = asyncio.run(_ask(dataset, model, asked, pairs))
    made = [each.draft for each in found if each.draft is not None]
    if drafts and made:
        kept.create_many(store, made, dataset=dataset, label="forecast")
    if session().as_json:
        emit_json({"dataset": dataset, "model": model, "drafts_added": len(made) if drafts else 0,
                   "probes": [_plain(each) for each in found]})  # fmt: skip
        return
    table(
        ("probe", "forecast", "nearest question"),
        ((one_line(clean(each.probe.question), 44), each.verdict, _nearest(each)) for each in found),
        wide="nearest question",
    )
    emit("")
    for word, meaning in MEANINGS.items():
        if many := sum(each.verdict == word for each in found):
            emit(f"{many} of {len(found)} {word}: {meaning}")
    if made and not drafts:
        emit("")
        emit("Draft pairs with the missing wordings:")
        for draft in made:
            emit(f"  {one_line(clean(draft.question), 60)} -> {one_line(clean(draft.answer), 80)}")
    if made and drafts:
        say(f"Added {count(len(made), 'draft pair')} to {dataset}: review them, then set them to ready.")
    elif made:
        say(f"Add them to {dataset}, to review: tuningfork forecast --dataset {dataset} --drafts{session().flags()}")


async def _ask(dataset: str, model: str, asked: list[Probe], pairs: list[Pair]) -> list[Forecast]:
    from engine.evaluation import forecast as forecasting
    from engine.inference import few_shot
    from engine.inference.sampling import Sampling

    examples = few_shot.of(session().store, dataset)
    client = await connect(session().home)
    try:
        await warm(client, model)
        with Progress("Asking", 2 * len(asked), "answers") as progress:
            sampling = Sampling(temperature=0.0, max_tokens=48)
            return await forecasting.forecast(client, model, asked, pairs, examples, sampling, progress.update)
    finally:
        await client.close()


def _nearest(found: Forecast) -> str:
    nearest = found.coverage.nearest
    return f"{found.coverage.likeness:.2f}  {one_line(clean(nearest.question), 60)}" if nearest else ""


def _plain(found: Forecast) -> dict[str, Any]:
    nearest = found.coverage.nearest
    return {
        "question": found.probe.question,
        "set": found.probe.set,
        "verdict": found.verdict,
        "alone": found.alone,
        "with_examples": found.shown,
        "nearest": nearest.question if nearest else None,
        "likeness": found.coverage.likeness,
        "draft": {"question": found.draft.question, "answer": found.draft.answer} if found.draft else None,
    }
