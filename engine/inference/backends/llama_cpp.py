"""Answers through llama.cpp: one set of weights for each base, one context for each lane, the adapter on a lane's
context alone. Work runs in threads, one per answer; the event loop only passes text on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, TypeVar

from engine.gguf.llama_library import LlamaModel
from engine.inference.backends.adapters import gguf_adapter
from engine.inference.backends.base import check_ids, check_size, rate
from engine.inference.backends.context_pool import ContextPool, size_for
from engine.inference.backends.gguf_template import GgufTemplate
from engine.inference.backends.llama_context import Aborted, Context
from engine.inference.grammar import from_schema
from engine.inference.prompts import AnsweredPrompt, EncodedPrompt, Template, answered, build, plain
from engine.inference.records import Finish, GenerationRequest, Piece, ScoredBatch
from engine.inference.sampling import Sampling
from engine.inference.template_cache import TemplateCache
from engine.inference.text_stream import TextStream
from engine.inference.threads import Budget
from engine.models.refs import Resolved
from store.errors import ServerError, Unsupported
from store.home import Home
from store.records import Message

T = TypeVar("T")
Item = Piece | Finish | BaseException


@dataclass(slots=True)
class _Loaded:
    """One base model in memory."""

    weights: LlamaModel
    lanes: ContextPool[Context]
    own_template: GgufTemplate | None = None
    users: int = 0
    used_at: float = field(default_factory=monotonic)


@dataclass(slots=True)
class _Answering:
    """What one worker thread needs for one answer."""

    context: Context
    adapter: Path | None
    prompt: EncodedPrompt
    request: GenerationRequest
    limit: int
    largest: int
    grammar: str | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        """End it within a token. The context stays ours until the thread is done, so no other request is affected."""
        self.cancelled = True
        self.context.abort()


class LlamaCpp:
    """The backend for every model that has a GGUF file. `context` bounds the tokens of one conversation."""

    name = "llama.cpp"

    def __init__(self, home: Home, templates: TemplateCache, budget: Budget, *, workers: int, context: int) -> None:
        self._home, self._templates, self._budget, self._context = home, templates, budget, context
        self._pool = ThreadPoolExecutor(workers + 2, "llama")  # for what computes nothing; `_alone` for what does
        self._computing: set[asyncio.Future[Any]] = set()
        self._models: dict[tuple[Path, int], _Loaded] = {}
        self._loading = asyncio.Lock()

    async def load(self, model: Resolved) -> None:
        async with self._using(model) as loaded:
            await self._run(self._adapter, model, loaded.weights)
            await self._run(self._template, model, loaded)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finish, None]:
        async with self._using(request.model) as loaded:
            adapter, prompt, grammar = await self._run(self._prepare, request, loaded)
            largest = self._largest(loaded.weights)
            limit = min(request.sampling.max_tokens, largest - len(prompt.ids))
            async with loaded.lanes.use(request.lane, size_for(len(prompt.ids) + limit, largest)) as context:
                with self._budget.one_more():
                    answering = _Answering(context, adapter, prompt, request, limit, largest, grammar)
                    async with aclosing(self._stream(answering)) as items:
                        async for item in items:
                            yield item

    async def prompt(
        self, model: Resolved, messages: Sequence[Message], sampling: Sampling | None = None
    ) -> EncodedPrompt:
        longest, thinking = (sampling.max_tokens, sampling.thinking) if sampling else (1, None)
        async with self._using(model) as loaded:
            template = await self._run(self._template, model, loaded)
            return build(template, messages, self._largest(loaded.weights), longest, thinking)

    async def logits(self, model: Resolved, ids: Sequence[int], lane: str | None) -> Sequence[float]:
        async with self._using(model) as loaded:
            adapter = await self._run(self._adapter, model, loaded.weights)
            async with loaded.lanes.use(lane, size_for(len(ids), self._largest(loaded.weights))) as context:
                return await _finished(self._alone(_measure, context, adapter, ids))

    async def plain_logits(self, model: Resolved, ids: Sequence[int]) -> Sequence[float]:
        async with self._using(model) as loaded:
            context = await self._make(loaded.weights, size_for(len(ids), self._largest(loaded.weights)))
            try:
                return await _finished(self._alone(_measure, context, None, ids))
            finally:
                context.free()

    async def answered(self, model: Resolved, messages: Sequence[Message], *, ended: bool = True) -> AnsweredPrompt:
        async with self._using(model) as loaded:
            template = await self._run(self._template, model, loaded)
            work = partial(answered, template, messages, self._largest(loaded.weights), ended=ended)
            return await self._run(work)

    async def score(
        self, model: Resolved, ids: Sequence[int], first: int, top: int = 0
    ) -> AsyncGenerator[ScoredBatch, None]:
        async with self._using(model) as loaded:
            largest = self._largest(loaded.weights)
            check_ids(ids, loaded.weights.n_vocab, "token_ids")
            check_size(ids, largest)
            adapter = await self._run(self._adapter, model, loaded.weights)
            async with loaded.lanes.use(None, size_for(len(ids), largest)) as context:
                await self._run(self._budget.look)
                await self._run(context.use_adapter, adapter)
                context.arm()
                read = 0
                try:
                    while read < len(ids) - 1:
                        with self._budget.one_more():
                            context.set_threads(self._budget.share())
                            work = self._alone(context.score, ids, read, first, top)
                            found = await _finished(work, context.abort)
                        read = found.read
                        yield found
                finally:
                    context.clear()

    async def text_ids(self, model: Resolved, text: str, *, begin: bool) -> list[int]:
        async with self._using(model) as loaded:
            return await self._run(loaded.weights.prompt_ids if begin else loaded.weights.tokenize, text)

    async def pieces(self, model: Resolved, ids: Sequence[int]) -> list[bytes]:
        async with self._using(model) as loaded:
            check_ids(ids, loaded.weights.n_vocab, "tokens")
            return [loaded.weights.piece(id, special=True) for id in ids]

    async def ends(self, model: Resolved, id: int) -> bool:
        async with self._using(model) as loaded:
            return loaded.weights.ends(id)

    async def unload_idle(self, seconds: float, keep: Sequence[Resolved]) -> None:
        pinned = {model.gguf for model in keep}
        for key, loaded in list(self._models.items()):
            if key[0] not in pinned and not loaded.users and monotonic() - loaded.used_at > seconds:
                del self._models[key]
                loaded.weights.free()

    async def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._computing:
            await asyncio.wait(self._computing)
        for loaded in self._models.values():
            loaded.weights.free()
        self._models.clear()

    @asynccontextmanager
    async def _using(self, model: Resolved) -> AsyncIterator[_Loaded]:
        """The base model in memory, loaded first if need be, and not unloaded while inside."""
        if model.gguf is None:
            raise Unsupported(f"{model.title} has no GGUF file.", todo="Use the transformers backend.")
        # shielded: a reader that goes away meanwhile must not lose loaded weights
        loaded = await asyncio.shield(self._load(model.gguf))
        loaded.users += 1
        try:
            yield loaded
        finally:
            loaded.users -= 1
            loaded.used_at = monotonic()

    async def _load(self, path: Path) -> _Loaded:
        key = (path, path.stat().st_mtime_ns)
        async with self._loading:
            if key not in self._models:
                weights = await self._run(LlamaModel, path)
                self._models[key] = _Loaded(weights, ContextPool(partial(self._make, weights)))
            self._models[key].used_at = monotonic()
            return self._models[key]

    async def _make(self, weights: LlamaModel, size: int) -> Context:
        making = asyncio.ensure_future(self._run(Context, weights, size, self._budget.share()))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_free)
            raise

    def _largest(self, weights: LlamaModel) -> int:
        return min(self._context, weights.n_ctx_train)

    def _prepare(self, request: GenerationRequest, loaded: _Loaded) -> tuple[Path | None, EncodedPrompt, str | None]:
        """In a thread: adapter, prompt and grammar of a request."""
        self._budget.look()
        schema, longest = request.sampling.json_schema, request.sampling.max_tokens
        grammar = None if schema is None else from_schema(schema)
        adapter = self._adapter(request.model, loaded.weights)
        largest = self._largest(loaded.weights)
        check_ids(request.prefix, loaded.weights.n_vocab, "prefix_ids")
        if request.text is not None:
            check_ids(request.ids, loaded.weights.n_vocab, "prompt")
            ids = list(request.ids) or loaded.weights.prompt_ids(request.text)
            return adapter, plain(ids, frozenset(), largest, longest), grammar
        template = self._template(request.model, loaded)
        return adapter, build(template, request.messages, largest, longest, request.sampling.thinking), grammar

    def _template(self, model: Resolved, loaded: _Loaded) -> Template:
        """The prepared folder's template; before there is one, the file's own, which must live as long as its
        weights."""
        if model.tokenizer is not None:
            return self._templates.of(model.tokenizer)
        if loaded.own_template is None:
            loaded.own_template = GgufTemplate(loaded.weights)
        return loaded.own_template

    def _adapter(self, model: Resolved, weights: LlamaModel) -> Path | None:
        """The model's GGUF adapter, in memory; None for a base."""
        path = gguf_adapter(self._home, model)
        if path is not None:
            weights.adapter(path)
        return path

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        """Call in a thread of the pool."""
        return await _finished(asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *arguments)))

    def _alone(self, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Call in a thread that ends with the work.

        OpenMP keeps the helpers of every thread that ever computed. Once all threads' helpers are more than the cores,
        they no longer spin but sleep between two steps, and an answer on two cores comes at two thirds of its speed.
        """
        pool = ThreadPoolExecutor(1, "llama-compute")
        call = asyncio.get_running_loop().run_in_executor(pool, partial(work, *arguments))
        pool.shutdown(wait=False)
        self._computing.add(call)
        call.add_done_callback(self._computing.discard)
        return call

    async def _stream(self, answering: _Answering) -> AsyncGenerator[Piece | Finish, None]:
        """Run one answer in a thread; text that came in while the reader was busy is passed on in one piece."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Item] = asyncio.Queue()

        def emit(item: Item) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        answering.context.arm()
        thread = self._alone(self._answer, answering, emit)
        try:
            while True:
                pieces, last = _drain(await queue.get(), queue)
                for piece in pieces:
                    yield piece
                if isinstance(last, BaseException):
                    raise last
                if last is not None:
                    yield last
                    return
        finally:
            answering.cancel()
            await asyncio.wait({thread})

    def _answer(self, work: _Answering, emit: Callable[[Item], None]) -> None:
        """In a thread: make one answer, token by token. Every outcome is emitted; nothing is raised."""
        try:
            emit(self._tokens(work, emit))
        except Aborted:
            emit(ServerError("The answer was cancelled."))  # not read by anyone: only a closed connection cancels
        except Exception as error:
            emit(error)

    def _tokens(self, work: _Answering, emit: Callable[[Item], None]) -> Finish:
        context, weights, prompt = work.context, work.context.weights, work.prompt
        text = TextStream(work.request.sampling.stop)
        context.use_adapter(work.adapter)
        if work.request.lane is None:
            context.clear()
        context.set_threads(self._budget.share())
        context.set_sampling(work.request.sampling, work.grammar)
        made: list[int] = []
        count, first, stop = 0, None, "length"
        for token in work.request.prefix:
            made.append(token)
            if token in prompt.stop_ids or weights.ends(token):
                stop = "end"
                break
            count += 1
            context.accept(token)
            if piece := text.feed(weights.piece(token)):
                emit(piece)
            if text.stopped:
                stop = "end"
                break
        if stop == "length" and count < work.limit:
            context.prefill([*prompt.ids, *made])
        while stop == "length" and count < work.limit:
            token = context.sample()
            first = first or perf_counter()
            made.append(token)
            if token in prompt.stop_ids or weights.ends(token):
                stop = "end"
                break
            count += 1
            if found := context.logprobs(token):
                emit(found)
            if piece := text.feed(weights.piece(token)):
                emit(piece)
            if text.stopped:
                stop = "end"
                break
            if work.cancelled:
                raise Aborted
            if count < work.limit:
                context.set_threads(self._budget.share())
                context.decode([token])
        last = perf_counter()
        if rest := text.feed(b"", final=True):
            emit(rest)
        return Finish(
            stop="end" if stop == "end" else "length",
            tokens=count,
            prompt_tokens=len(prompt.ids),
            ttft_ms=(first - work.request.asked) * 1e3 if first else None,
            tokens_per_s=rate(count - len(work.request.prefix), first, last),
            context_used=len(prompt.ids) + count,
            context_size=work.largest,
            dropped_turns=prompt.dropped_turns,
            token_ids=() if text.stopped else tuple(made),
        )


async def _finished(call: asyncio.Future[T], abort: Callable[[], None] = lambda: None) -> T:
    """What a thread gives. When cancelled, `abort` is called, and the thread is awaited all the same: it may be using a
    context of ours."""
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        abort()
        await asyncio.wait({call})
        raise


def _free(made: asyncio.Future[Context]) -> None:
    """Free a context that is no longer needed."""
    if not made.cancelled() and made.exception() is None:
        made.result().free()


def _measure(context: Context, adapter: Path | None, ids: Sequence[int]) -> list[float]:
    """Next-token logits from an empty cache; the cache is restored afterwards."""
    context.use_adapter(adapter)
    saved = context.save()
    context.clear()
    context.arm()
    try:
        context.prefill(ids)
        return context.logits()
    finally:
        context.restore(saved)


def _drain(item: Item, queue: asyncio.Queue[Item]) -> tuple[list[Piece], Finish | BaseException | None]:
    """All pieces that are there already, texts joined, and what comes after them if the answer has ended."""
    pieces: list[Piece] = []
    while not isinstance(item, Finish | BaseException):
        if isinstance(item, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += item
        else:
            pieces.append(item)
        if queue.empty():
            return pieces, None
        item = queue.get_nowait()
    return pieces, item
