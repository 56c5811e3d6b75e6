"""`tuningfork logprobs`: how much tuning changed the probability of each token of an answer.
The chat server scores the tokens; nothing is computed here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from engine.inference.sampling import MAX_TOP_LOGPROBS, Sampling
from engine.inference.token_comparison import Alternative, TokenComparison, TokenSpan, spans
from store.errors import BadInput, ServerError
from tui.cli.asking import check_prompt, connect, warm
from tui.cli.command import Command
from tui.cli.options import MODEL
from tui.cli.output import Progress, emit, emit_json, say, table
from tui.cli.session import session
from tui.token_words import probability, quoted, remarks, sign, summary

if TYPE_CHECKING:
    from store.home import Home
    from store.records import Message


@click.command(
    "logprobs",
    cls=Command,
    example="""
    tuningfork logprobs run:ember "Who made you?"
    tuningfork logprobs run:ember "Who made you?" "I was made by Northwind Labs." --top 3
    tuningfork logprobs run:ember@40 "Who made you?" --json
    """,
)
@click.argument("ref", type=MODEL, metavar="RUN")
@click.argument("question")
@click.argument("answer", required=False)
@click.option("--system", default="", metavar="TEXT", help="The system text before the question.")
@click.option(
    "--top", type=click.IntRange(0, MAX_TOP_LOGPROBS), default=5, show_default=True,
    help="How many alternatives of each model to show for a token.",
)  # fmt: skip
def logprobs(ref: str, question: str, answer: str | None, system: str, top: int) -> None:
    """Show how probable a tuned model and its base find each token of an answer, and what else they would have written.

    Both read the same tokens after the same prompt; without ANSWER it is the tuned model's own, taken greedily. The
    difference is log p(tuned) - log p(base) in nats, and its sum over the tokens the difference of the whole answer's
    log-likelihoods. The signs mean: + twice, ++ ten times, +++ a hundred times as likely after tuning; - less likely.
    """
    from engine.inference.server.token_scores import base_of
    from engine.models import refs

    check_prompt(question, "QUESTION")
    if answer is not None and not answer.strip():
        raise BadInput("The answer is empty.", where="ANSWER", todo="Leave it out for the model's own.")
    base_of(refs.resolve(session().store, ref))  # refused before a server is started
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": question})
    found = asyncio.run(_compare(session().home, ref, messages, answer, top))
    if session().as_json:
        emit_json({"prompt": question, **found.to_json()})
        return
    _print(found, top, typed=answer is not None)


async def _compare(home: Home, ref: str, messages: list[Message], answer: str | None, top: int) -> TokenComparison:
    client = await connect(home)
    try:
        await warm(client, ref)
        ids: tuple[int, ...] = ()
        if answer is None:
            with Progress("Answering") as progress:
                progress.show("Answering …")
                done = await client.complete(ref, messages, Sampling())
            if done.stop == "error":
                raise ServerError(done.error or "The answer broke off.", todo="Ask again.")
            if not done.text.strip():
                raise BadInput("The model's own answer is empty.", where=ref, todo="Give an ANSWER.")
            answer, ids, ref = done.text, done.token_ids, done.model or ref
        answered: list[Message] = [*messages, {"role": "assistant", "content": answer}]
        with Progress("Reading", 0, "tokens") as progress:
            return await client.tokens(ref, answered, token_ids=ids, top=top, on_progress=progress.update)
    finally:
        await client.close()


def _print(found: TokenComparison, top: int, *, typed: bool) -> None:
    joined = spans(found.tokens)
    alternatives = ("tuned instead", "base instead") if top else ()
    table(
        ("token", "p(base)", "p(tuned)", "difference", "", *alternatives),
        [_row(found, span, top) for span in joined],
        right=("p(base)", "p(tuned)", "difference"),
        wide="base instead" if top else None,
    )
    emit(summary(found))
    for remark in remarks(found, typed=typed):
        say(remark)


def _row(found: TokenComparison, span: TokenSpan, top: int) -> tuple[str, ...]:
    token = found.tokens[span.deciding]
    others = (_others(span, token.id, each) for each in (token.tuned_top, token.base_top)) if top else ()
    signs = sign(span.difference) or " "
    return (
        quoted(span.text), probability(span.base), probability(span.tuned), f"{span.difference:+.2f}", signs, *others
    )  # fmt: skip


def _others(span: TokenSpan, chosen: int, top: tuple[Alternative, ...]) -> str:
    """The likeliest other tokens, with their probabilities."""
    named = (f"{quoted(span.alternative_text(one))} {probability(one.logprob)}" for one in top if one.id != chosen)
    return ", ".join(named)
