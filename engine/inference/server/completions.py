"""Prompts of the older completions API continued one after the other, and those that come back with the answer: each
of their tokens with its log probability, as evaluation harnesses sum them up. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter

from engine.inference.backends.base import Backend
from engine.inference.protocol import ChatRequest
from engine.inference.records import Finish, GenerationRequest, ScoredToken, TokenLogprob
from engine.inference.replies import Completed
from engine.inference.sampling import Sampling
from engine.models.refs import Resolved
from store.errors import BadInput


async def echoed(model: Resolved, backend: Backend, request: ChatRequest, *, made: bool) -> Completed:
    """The prompt, and what follows it if `made` says so. A greedy token alone is read off the pass over the prompt,
    which is all that a harness asks for.

    BadInput that names the prompt for one that is too long or has tokens that the model does not; Unsupported for an
    endpoint, whose probabilities are not seen.
    """
    try:
        return await _echoed(model, backend, request, made=made)
    except BadInput as error:
        if error.where not in ("tokens", "token_ids", "messages"):
            raise
        raise BadInput(error.what, where="prompt", todo=error.todo) from None


async def _echoed(model: Resolved, backend: Backend, request: ChatRequest, *, made: bool) -> Completed:
    asked, sampling = perf_counter(), request.sampling
    ids = list(request.ids) or await backend.text_ids(model, request.text or "", begin=True)
    pieces = await backend.pieces(model, ids)
    text = b"".join(pieces).decode("utf-8", "replace") if request.ids else request.text or ""
    found: list[TokenLogprob] = []
    following: ScoredToken | None = None
    if sampling.top_logprobs is not None:
        single = made and sampling == Sampling(max_tokens=1, seed=sampling.seed, top_logprobs=sampling.top_logprobs)
        scored: list[ScoredToken] = []
        reading = [*ids, ids[-1]] if single else ids
        async with aclosing(backend.score(model, reading, 1, max(1, sampling.top_logprobs))) as batches:
            async for batch in batches:
                scored += batch.tokens
        if single:  # what was appended only made room for the likeliest token after the prompt
            id, value = scored.pop().top[0]
            following = ScoredToken(id, value, ((id, value),))
        found = [TokenLogprob(pieces[0], None), *await _named(model, backend, scored, sampling.top_logprobs)]
    finish = Finish("length", 0, len(ids), context_used=len(ids))
    if following is not None:
        (last,) = await _named(model, backend, [following], sampling.top_logprobs or 0)
        if await backend.ends(model, following.id):
            return Completed(model.ref, text, [*found, last], replace(finish, stop="end"))
        # what looks like a control token, which has no text, is left to the backend
        if not (last.piece.startswith(b"<") and last.piece.endswith(b">")):
            text += last.piece.decode("utf-8", "replace")
            return Completed(model.ref, text, [*found, last], replace(finish, tokens=1, context_used=len(ids) + 1))
    if made:
        job = GenerationRequest(model, (), sampling, None, asked, "", ids=tuple(ids))
        rest = await gathered(model.ref, backend, job)
        return Completed(model.ref, text + rest.text, [*found, *rest.logprobs], rest.finish)
    return Completed(model.ref, text, found, finish)


async def gathered(ref: str, backend: Backend, job: GenerationRequest) -> Completed:
    """One answer as a whole."""
    texts: list[str] = []
    logprobs: list[TokenLogprob] = []
    finish = Finish("length", 0, 0)
    async with aclosing(backend.generate(job)) as items:
        async for item in items:
            if isinstance(item, str):
                texts.append(item)
            elif isinstance(item, TokenLogprob):
                logprobs.append(item)
            elif isinstance(item, Finish):
                finish = item
    return Completed(ref, "".join(texts), logprobs, finish)


async def _named(model: Resolved, backend: Backend, scored: Sequence[ScoredToken], top: int) -> list[TokenLogprob]:
    """Scored tokens by their bytes, with at most `top` alternatives."""
    ids = list({id for one in scored for id, _ in one.top[:top]} | {one.id for one in scored})
    pieces = dict(zip(ids, await backend.pieces(model, ids), strict=True))
    return [
        TokenLogprob(pieces[one.id], one.logprob, tuple((pieces[id], value) for id, value in one.top[:top]))
        for one in scored
    ]
