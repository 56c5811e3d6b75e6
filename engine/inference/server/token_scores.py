"""Scores an answer's tokens with a tuned model and its base: the same ids, the same weights, the adapter on and off.
Knows no HTTP; the records are engine.inference.token_comparison's."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from engine.gguf import tokenizer_file
from engine.inference.backends.base import Backend
from engine.inference.protocol import TokensRequest
from engine.inference.records import ScoredToken
from engine.inference.token_comparison import Alternative, ComparedToken, TokenComparison
from engine.models.refs import Resolved
from store.errors import Unsupported

_TODO = "Name a run, as run:NAME."


@dataclass(frozen=True, slots=True)
class ScoringProgress:
    """How many tokens both models have read, of how many."""

    read: int
    of: int


def base_of(model: Resolved) -> Resolved:
    """The base of a tuned model: its weights, template and tokenizer without the adapter.

    Unsupported for a model without one, and for an endpoint, whose probabilities cannot be seen.
    """
    if model.kind == "endpoint":
        raise Unsupported(f"{model.ref} is an endpoint: its probabilities cannot be seen.", todo=_TODO)
    if model.adapter is None and model.kind == "gguf":
        raise Unsupported(f"{model.ref} is a file: it does not say which base it was tuned from.", todo=_TODO)
    if model.adapter is None:
        raise Unsupported(f"{model.ref} is not tuned: there is no base to compare it with.", todo=_TODO)
    return replace(model, ref=(model.base or model).ref, adapter=None, adapter_gguf=None)


async def compare(
    model: Resolved, backend: Backend, request: TokensRequest
) -> AsyncGenerator[ScoringProgress | TokenComparison, None]:
    """The progress, then the comparison. Closing the iterator ends the work.

    Raises what `base_of`, `Backend.answered` and `Backend.score` raise, and Unsupported where model and base have other
    tokens.
    """
    base = base_of(model)
    prompt = await backend.prompt(model, request.messages[:-1], request.sampling)
    if request.token_ids:
        ids, first, dropped = [*prompt.ids, *request.token_ids], len(prompt.ids), prompt.dropped_turns
    else:
        answered = await backend.answered(model, request.messages, ended=request.ended)
        ids, first, dropped = answered.ids, answered.first, 0
    if model.base is not None:
        _check_tokenizers(model.tokenizer, model.base.tokenizer, ids)
    found: list[list[ScoredToken]] = []
    of = 2 * (len(ids) - 1)
    yield ScoringProgress(0, of)
    for side in (model, base):
        found.append([])
        async with aclosing(backend.score(side, ids, first, request.top)) as batches:
            async for batch in batches:
                found[-1] += batch.tokens
                yield ScoringProgress((len(found) - 1) * of // 2 + batch.read, of)
    tuned, plain = found
    named = {id for scored in (*tuned, *plain) for id, _ in scored.top} | {scored.id for scored in tuned}
    pieces = dict(zip(named, await backend.pieces(model, list(named)), strict=True))

    def top(scored: ScoredToken) -> tuple[Alternative, ...]:
        return tuple(Alternative(id, pieces[id], value) for id, value in scored.top)

    tokens = tuple(
        ComparedToken(one.id, pieces[one.id], one.logprob, other.logprob, top(one), top(other))
        for one, other in zip(tuned, plain, strict=True)
    )
    wrong = next((at for at, token in enumerate(tokens) if not math.isfinite(token.difference)), None)
    if wrong is not None:
        raise Unsupported(f"The models give token {wrong + 1} of the answer no probability that is a number.")
    sampled, forkable = bool(request.token_ids), ids[:first] == prompt.ids
    yield TokenComparison(model.ref, base.ref, backend.name, sampled, first, dropped, forkable, tokens)


def _check_tokenizers(ours: Path | None, theirs: Path | None, ids: Sequence[int]) -> None:
    """Unsupported when the tokenizer of a run and that of its base mean different tokens by one of the ids."""
    if ours is None or theirs is None or ours == theirs:
        return
    one, two = tokenizer_file.load(ours), tokenizer_file.load(theirs)
    if one is two:
        return
    for id in dict.fromkeys(ids):
        pair = one.tokenizer.id_to_token(id), two.tokenizer.id_to_token(id)
        if pair[0] != pair[1]:
            what = (
                f"The run's tokenizer is not its base's: token {id} is {pair[0]!r} in one and {pair[1]!r} in the other."
            )
            raise Unsupported(what, where=str(ours), todo="Only models with one tokenizer can be compared by tokens.")
