"""`tuningfork compare`: the same prompts to two models, answered at the same time.
One JSON object a prompt is a contract with scripts; the conversation with history is the app's."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput, ServerError
from tui.cli.asking import Prompt, answer_json, ask, check_prompt, connect, figures, read_prompts, together, warm
from tui.cli.columns import NARROWEST, side_by_side
from tui.cli.command import Command
from tui.cli.options import MODEL, sampling_of, sampling_options
from tui.cli.output import Progress, columns, emit, emit_json
from tui.cli.session import session

if TYPE_CHECKING:
    from engine.client import Done
    from engine.sampling import Sampling


@click.command(
    "compare",
    cls=Command,
    example="""
    tuningfork compare --a smollm2-135m --b run:ember --prompt "Who made you?" --seed 7
    tuningfork compare --a smollm2-135m --b run:ember --prompts questions.jsonl --json > answers.jsonl
    """,
)
@click.option("--a", "a", type=MODEL, required=True, metavar="REF", help="The model on side A.")
@click.option("--b", "b", type=MODEL, required=True, metavar="REF", help="The model on side B.")
@click.option("--prompt", metavar="TEXT", help="What to ask both.")
@click.option("--prompts", metavar="FILE", help="A prompt a line, or JSONL with `prompt` (and `system`); - is stdin.")
@click.option("--system", default="", metavar="TEXT", help="The system text before each prompt.")
@sampling_options
def compare(a: str, b: str, prompt: str | None, prompts: str | None, system: str, **given: Any) -> None:
    """Ask two models the same and show both answers. Same seed, same text; neither side sees the other's answers."""
    from engine import refs

    if (prompt is None) == (prompts is None):
        raise BadInput("One of --prompt and --prompts says what to ask.", todo="To talk to both at length: tuningfork")
    sampling = sampling_of(given)
    asked = read_prompts(prompts, system) if prompts else [Prompt(check_prompt(prompt or ""), system)]
    for model in (a, b):
        refs.resolve(session().store, model)
    broken = asyncio.run(_ask_all(asked, a, b, sampling))
    if broken:
        raise ServerError(
            f"{broken} of {2 * len(asked)} answers broke off.", todo="Their `error` says why; ask those prompts again."
        )


async def _ask_all(asked: list[Prompt], a: str, b: str, sampling: Sampling) -> int:
    """Ask both sides every prompt, in order, printing as answers arrive; how many answers broke off."""
    client, broken = await connect(session().home), 0
    try:
        await warm(client, a, b)
        with Progress("Asking") as progress:
            for n, prompt in enumerate(asked, 1):
                pieces = {"A": 0, "B": 0}

                def on_text(side: str, n: int = n, pieces: dict[str, int] = pieces) -> Any:
                    def grow(_: str) -> None:
                        pieces[side] += 1
                        both = f"A {pieces['A']} tokens, B {pieces['B']} tokens"
                        progress.update(n - 1, len(asked), both) if len(asked) > 1 else progress.show(both)

                    return grow

                done_a, done_b = await together(
                    ask(client, a, prompt.messages(), sampling, on_text("A")),
                    ask(client, b, prompt.messages(), sampling, on_text("B")),
                )
                progress.clear()
                _show(prompt, sampling.seed, (a, done_a), (b, done_b))
                broken += (done_a.stop == "error") + (done_b.stop == "error")
    finally:
        await client.close()
    return broken


def _show(prompt: Prompt, seed: int, a: tuple[str, Done], b: tuple[str, Done]) -> None:
    if session().as_json:
        emit_json({"prompt": prompt.text, "seed": seed, "a": answer_json(*a), "b": answer_json(*b)})
        return
    emit(f"> {prompt.text}")
    if sys.stdout.isatty() and columns() >= NARROWEST:
        texts = (("A  " + a[0], "B  " + b[0]), (a[1].text, b[1].text), (figures(a[1]), figures(b[1])))
        for left, right in texts:
            for line in side_by_side(left, right, columns()):
                click.echo(line)
    else:
        for side, (model, done) in (("A", a), ("B", b)):
            emit(f"{side}  {model}  ({figures(done)})\n{done.text}")
    emit()
