"""`tuningfork compare`: the same prompts to two models, answered at the same time.
Scripts rely on one JSON object per prompt; conversations with history are in the app."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from engine.evaluation import prompt_sets
from engine.evaluation.prompt_sets import ComparedSide, PromptEntry
from engine.inference.few_shot import MOST, SHOTS
from store.errors import BadInput, ServerError
from tui.cli.asking import ask, check_prompt, connect, figures, read_prompts, together, warm
from tui.cli.columns import NARROWEST, side_by_side
from tui.cli.command import Command
from tui.cli.options import MODEL, sampling_of, sampling_options
from tui.cli.output import Progress, columns, emit, emit_json, say
from tui.cli.session import session

if TYPE_CHECKING:
    from engine.inference.client import Done
    from engine.inference.sampling import Sampling


@click.command(
    "compare",
    cls=Command,
    example="""
    tuningfork compare --a smollm2-135m --b run:ember --prompt "Who made you?" --seed 7
    tuningfork compare --a smollm2-135m --b run:ember --prompts questions.jsonl --json > answers.jsonl
    tuningfork compare --a smollm2-135m --b run:ember --few-shot ember --shots 8 --prompt "Who made you?"
    """,
)
@click.option("--a", "a", type=MODEL, required=True, metavar="REF", help="The model on side A.")
@click.option("--b", "b", type=MODEL, required=True, metavar="REF", help="The model on side B.")
@click.option("--prompt", metavar="TEXT", help="What to ask both.")
@click.option(
    "--prompts",
    metavar="FILE",
    help="One prompt per line, JSONL with `prompt` (and `system`), a saved set, or - for stdin.",
)
@click.option("--keep", metavar="NAME", help="Save these prompts as a set, for --prompts NAME and for the app.")
@click.option("--system", default="", metavar="TEXT", help="The system text before each prompt.")
@click.option(
    "--few-shot", metavar="DATASET", help="Add a third side: the base model, given examples from this dataset."
)
@click.option(
    "--shots", type=click.IntRange(1, MOST), default=SHOTS, show_default=True, help="How many examples it gets."
)
@sampling_options
def compare(
    a: str, b: str, prompt: str | None, prompts: str | None, system: str, keep: str | None, few_shot: str | None,
    shots: int, **given: Any,
) -> None:  # fmt: skip
    """Ask two models the same questions and show both answers. Neither reads the other's answers.

    Both get the same seed. With --few-shot the base model answers a third time, after reading ready training pairs of
    a dataset. It shows whether prompting is enough, without tuning.
    """
    from engine.inference import few_shot as examples
    from engine.models import refs

    if (prompt is None) == (prompts is None):
        raise BadInput(
            "Give either --prompt or --prompts.", todo="For a conversation with both, open the app: tuningfork"
        )
    sampling = sampling_of(given)
    store = session().store
    asked = read_prompts(store, prompts, system) if prompts else [PromptEntry(check_prompt(prompt or ""), system)]
    resolved = {model: refs.resolve(store, model) for model in (a, b)}
    for model in resolved.values():
        if model.note:
            say(model.note)
    sides = [ComparedSide("a", a), ComparedSide("b", b)]
    if few_shot is not None:
        base = resolved[b].base or resolved[a].base or resolved[a]
        sides.append(ComparedSide("few_shot", base.ref, examples.of(store, few_shot, shots)))
    if keep is not None:
        prompt_sets.keep(store, keep, asked)
    broken = asyncio.run(_ask_all(asked, sides, sampling))
    if broken:
        raise ServerError(
            f"{broken} of {len(sides) * len(asked)} answers broke off.",
            todo="Their `error` says why; ask those prompts again.",
        )


def _title(side: ComparedSide) -> str:
    """The heading of a column."""
    return f"{'C' if side.few_shot else side.name.upper()}  {side.label}"


async def _ask_all(asked: list[PromptEntry], sides: list[ComparedSide], sampling: Sampling) -> int:
    """Ask all sides every prompt, in order, printing as answers arrive; how many answers broke off."""
    client, broken = await connect(session().home), 0
    try:
        await warm(client, *(side.model for side in sides))
        with Progress("Asking") as progress:
            for n, prompt in enumerate(asked):
                pieces = dict.fromkeys((_title(side)[0] for side in sides), 0)

                def on_text(side: str, n: int = n, pieces: dict[str, int] = pieces) -> Callable[[str], None]:
                    def grow(_: str) -> None:
                        pieces[side] += 1
                        counts = ", ".join(f"{name} {count} tokens" for name, count in pieces.items())
                        progress.update(n, len(asked), counts) if len(asked) > 1 else progress.show(counts)

                    return grow

                answers = await together(
                    *(ask(client, s.model, s.reads(prompt), sampling, on_text(_title(s)[0])) for s in sides)
                )
                progress.clear()
                _show(prompt, sampling.seed, list(zip(sides, answers, strict=True)))
                broken += sum(done.stop == "error" for done in answers)
    finally:
        await client.close()
    return broken


def _show(prompt: PromptEntry, seed: int, answers: list[tuple[ComparedSide, Done]]) -> None:
    if session().as_json:
        emit_json({"prompt": prompt.text, "seed": seed, **{side.name: side.json(done) for side, done in answers}})
        return
    emit(f"> {prompt.text}")
    beside = 2 if sys.stdout.isatty() and columns() >= NARROWEST else 0
    if beside:
        (a, done_a), (b, done_b) = answers[:beside]
        texts = ((_title(a), _title(b)), (done_a.text, done_b.text), (figures(done_a), figures(done_b)))
        for left, right in texts:
            for line in side_by_side(left, right, columns()):
                click.echo(line)
    for side, done in answers[beside:]:
        emit(f"{_title(side)}  ({figures(done)})\n{done.text}")
    emit()
