"""The server's work without HTTP: find the model, pick its backend, queue, answer, check lanes, unload idle models.
Everything that a request can go wrong with is raised as one of the project's errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, TypeVar

from engine.core.files import read_json
from engine.inference import failures, limits
from engine.inference.backends import adapters
from engine.inference.backends.base import Backend
from engine.inference.protocol import ChatRequest, CompletionRequest, Refusal, TokensRequest
from engine.inference.records import Finish, GenerationRequest, Piece
from engine.inference.replies import Completed
from engine.inference.sampling import Sampling
from engine.inference.server import completions, lane_check, token_scores
from engine.inference.server.admission import Admission
from engine.inference.server.token_scores import ScoringProgress
from engine.inference.template_cache import TemplateCache
from engine.inference.threads import Budget, training_threads
from engine.inference.token_comparison import TokenComparison
from engine.models import prepare, refs
from engine.models.refs import Resolved
from store.db import Store
from store.errors import BadInput, ServerError, Unsupported
from store.records import Message

T = TypeVar("T")
_PREPARE_RETRY_S = 3


@dataclass(frozen=True, slots=True)
class Options:
    """How the server answers.

    `idle_s` until an unused model is unloaded; `context` tokens of a conversation and `max_tokens` of an answer at
    most.
    """

    backend: str = "auto"
    idle_s: float = 600.0
    context: int = limits.CONTEXT
    max_tokens: int = limits.TO_CONTEXT_END
    active: int = 4
    waiting: int = 16


@dataclass(frozen=True, slots=True)
class Began:
    """An answer is about to start. `model` is what answers: for a run in training, its newest checkpoint."""

    model: str


@dataclass(slots=True)
class AnswerStage:
    """What the server does for an answer before its first token: "queued" behind other answers, "loading" its model,
    or "reading" its prompt. Empty where only another server knows."""

    name: str = "queued"


class Service:
    """All backends of one server. Lives in one event loop."""

    def __init__(self, store: Store, options: Options) -> None:
        self._store, self._options = store, options
        self._lookups = ThreadPoolExecutor(1, "lookup")  # one thread, so one connection to the store
        self._templates = TemplateCache()
        self._admission = Admission(options.active, options.waiting)
        budget = Budget()
        budget.taken = partial(training_threads, store, budget.cores)
        self._budget = budget
        self._backends: dict[str, Backend] = {}
        self._making = asyncio.Lock()
        self._unloadable: set[tuple[object, ...]] = set()
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, str] = {}
        self._pinned: list[Resolved] = []
        self._stages: dict[str, AnswerStage] = {}
        self.used_at = monotonic()

    @property
    def busy(self) -> bool:
        """Whether any request is inside or waits."""
        return bool(self._admission.inside or self._admission.waiting)

    async def answer(self, request: ChatRequest) -> AsyncGenerator[Began | Piece | Finish, None]:
        """What answers, pieces of the answer, then its `Finish`. Closing the iterator cancels."""
        asked = perf_counter()
        with self._staged(request.lane) as stage:
            async with aclosing(self._answer(request, asked, stage)) as items:
                async for item in items:
                    yield item

    def stage(self, lane: str) -> str:
        """What the open answer of a lane does or did before its first token, as in `AnswerStage`; empty without one."""
        return self._stages[lane].name if lane in self._stages else ""

    @contextmanager
    def _staged(self, lane: str | None) -> Iterator[AnswerStage]:
        stage = AnswerStage()
        if lane is not None:
            self._stages[lane] = stage
        try:
            yield stage
        finally:
            if lane is not None and self._stages.get(lane) is stage:  # else the lane asked again meanwhile
                del self._stages[lane]

    async def _answer(
        self, request: ChatRequest, asked: float, stage: AnswerStage
    ) -> AsyncGenerator[Began | Piece | Finish, None]:
        async with self._admission.enter():
            stage.name = "loading"
            model, backend = await self._ready(request.model)
            if model.kind == "endpoint":
                stage.name = ""
            else:
                await backend.load(model)
                stage.name = "reading"
            yield Began(model.ref)
            sampling = self._limited(request.sampling)
            job = GenerationRequest(
                model, request.messages, sampling, request.lane, asked, request.text, request.prefix, request.ids
            )
            try:
                async with aclosing(backend.generate(job)) as items:
                    async for item in items:
                        if isinstance(item, Finish):
                            said = " ".join(filter(None, (model.note, item.note)))
                            item = replace(item, model=model.ref, note=said)
                        yield item
            except OSError as error:  # a missing file, for example; the app would take it for a closed connection
                raise failures.named(error) from error
            finally:
                self.used_at = monotonic()

    async def complete(self, request: CompletionRequest) -> list[Completed]:
        """Every prompt continued, one after the other; with `echo` each choice begins with its prompt."""
        found: list[Completed] = []
        for each in request.prompts:
            asked = perf_counter()
            async with self._admission.enter():
                model, backend = await self._ready(each.model)
                limited = replace(each, sampling=self._limited(each.sampling))
                try:
                    if request.echo:
                        found.append(await completions.echoed(model, backend, limited, made=request.made))
                    else:
                        job = GenerationRequest(
                            model, (), limited.sampling, None, asked, limited.text, ids=limited.ids
                        )  # fmt: skip
                        found.append(await completions.gathered(model.ref, backend, job))
                finally:
                    self.used_at = monotonic()
        return found

    async def tokenize(self, ref: str | None, text: str) -> list[int]:
        """The tokens of a text, without a template and nothing before it. `ref` None is the server's own model."""
        model, backend = await self._ready(ref or self._own())
        return await backend.text_ids(model, text, begin=False)

    async def detokenize(self, ref: str | None, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens by their names."""
        model, backend = await self._ready(ref or self._own())
        return b"".join(await backend.pieces(model, ids)).decode("utf-8", "replace")

    async def tokenizer_info(self) -> dict[str, Any]:
        """The tokenizer's configuration of the server's own model, as its folder has it. Unsupported without one."""
        model = await self._look(refs.resolve, self._own())
        if model.tokenizer is None:
            raise Unsupported(f"{model.title} has no tokenizer files.", todo="Prepare it: tuningfork models prepare")
        return await asyncio.to_thread(tokenizer_info, model.tokenizer)

    def _own(self) -> str:
        """The model that the server was started for. BadInput when there is none."""
        if not self._pinned:
            todo = "Name a model, or start the server for one: tuningfork serve --model REF"
            raise BadInput("The server was started for no model of its own.", where="model", todo=todo)
        return self._pinned[0].ref

    async def load(self, ref: str, *, pin: bool = False) -> dict[str, Any]:
        """Make a model ready; `pin` keeps it in memory until the server ends."""
        began = perf_counter()
        model, backend = await self._ready(ref)
        await backend.load(model)
        if pin:
            self._pinned.append(model)
        self.used_at = monotonic()
        return {"model": model.ref, "backend": backend.name, "ms": round((perf_counter() - began) * 1e3, 1)}

    async def lane_check(self, lanes: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
        """Check what each lane is, given by model and name; see `engine.inference.server.lane_check`."""
        async with self._admission.enter():
            sides = [lane_check.CheckedLane(*await self._ready(ref), lane) for ref, lane in lanes]
            self.used_at = monotonic()
            return await lane_check.check(sides)

    async def score(self, ref: str, messages: Sequence[Message]) -> dict[str, Any]:
        """How probable a model finds the last message, an assistant's: {"model", "backend", "logprobs"}, natural logs.

        Raises what `Backend.answered` raises.
        """
        found: list[float] = []
        async with self._admission.enter():
            model, backend = await self._ready(ref)
            try:
                answer = await backend.answered(model, messages)
                async with aclosing(backend.score(model, answer.ids, answer.first)) as batches:
                    async for batch in batches:
                        found += (token.logprob for token in batch.tokens)
            finally:
                self.used_at = monotonic()
            return {"model": model.ref, "backend": backend.name, "logprobs": found}

    async def compare_tokens(self, request: TokensRequest) -> AsyncGenerator[ScoringProgress | TokenComparison, None]:
        """How probable a tuned model and its base find each token of an answer: the progress, then the comparison.

        Closing the iterator ends the work. Raises what `token_scores.compare` raises.
        """
        async with self._admission.enter():
            token_scores.base_of(await self._look(refs.resolve, request.model))  # refused before anything is loaded
            model, backend = await self._ready(request.model)
            request = replace(request, sampling=self._limited(request.sampling))
            try:
                async with aclosing(token_scores.compare(model, backend, request)) as items:
                    async for item in items:
                        yield item
            except OSError as error:
                raise failures.named(error) from error
            finally:
                self.used_at = monotonic()

    def _limited(self, sampling: Sampling) -> Sampling:
        """Sampling of at most as many tokens as this server allows."""
        return replace(sampling, max_tokens=min(sampling.max_tokens, self._options.max_tokens))

    async def models(self) -> list[str]:
        """The references that resolve now."""
        return await self._look(refs.known)

    async def model(self, ref: str) -> str:
        """The normal form of a reference. Raises what `refs.resolve` raises."""
        return (await self._look(refs.resolve, ref)).ref

    async def unload_idle(self) -> None:
        """Free models that were not used for `idle_s` seconds."""
        for backend in self._backends.values():
            await backend.unload_idle(self._options.idle_s, self._pinned)

    async def close(self) -> None:
        """End everything and free all models."""
        for task in self._preparing.values():
            task.cancel()
        for backend in self._backends.values():
            await backend.close()
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _ready(self, ref: str) -> tuple[Resolved, Backend]:
        """The model, and a backend that has its base and adapter loaded or can run it: llama.cpp wherever that is
        possible.

        Raises a Refusal with status 503 while the base is being prepared.
        """
        model = await self._look(refs.resolve, ref)
        if model.kind == "endpoint":
            return model, await self._backend("endpoint")
        wanted, home = self._options.backend, self._store.home
        mark = _version(model)
        if model.gguf is not None and wanted != "transformers" and mark not in self._unloadable:
            if adapters.must_convert(home, model) and model.folder is None:
                self._prepare(model)
            try:
                backend = await self._backend("llama.cpp")
                await backend.load(model)
                return model, backend
            except Unsupported:
                if wanted == "llama.cpp" or model.folder is None:
                    raise
                self._unloadable.add(mark)  # not tried again; the transformers backend can do what llama.cpp cannot
        if wanted == "llama.cpp":
            raise Unsupported(f"{model.title} has no GGUF file.", todo="Start the server with --backend auto.")
        if model.folder is None:
            self._prepare(model)
        return model, await self._backend("transformers")

    async def _backend(self, name: str) -> Backend:
        """The backend of that name, made when the first model needs it: importing its libraries may take seconds."""
        async with self._making:
            if name not in self._backends:
                self._backends[name] = await asyncio.to_thread(self._make, name)
            return self._backends[name]

    def _make(self, name: str) -> Backend:
        if name == "endpoint":
            from engine.inference.backends.endpoint import Endpoint

            return Endpoint()
        if name == "llama.cpp":
            from engine.inference.backends.llama_cpp import LlamaCpp

            size = {"workers": self._options.active, "context": self._options.context}
            return LlamaCpp(self._store.home, self._templates, self._budget, **size)
        from engine.inference.backends.transformers import Transformers

        return Transformers(self._templates, self._budget, context=self._options.context)

    def _prepare(self, model: Resolved) -> None:
        """Start preparing the base, if that does not run yet, and say so."""
        ref = (model.base or model).ref
        task = self._preparing.get(ref)
        if task is not None and task.done():
            del self._preparing[ref]
            task.result()  # raises what went wrong
        elif task is None:
            self._progress[ref] = "starting"
            self._preparing[ref] = asyncio.create_task(self._prepare_now(ref))
        error = ServerError(f"{ref} is being prepared: {self._progress[ref]}.", todo="Try again in a few seconds.")
        raise Refusal(error, 503, retry_after=_PREPARE_RETRY_S)

    async def _prepare_now(self, ref: str) -> None:
        def said(line: str) -> None:
            self._progress[ref] = line.rstrip(".")

        await asyncio.to_thread(prepare.prepare, self._store, ref, said)

    async def _look(self, find: Callable[..., T], *arguments: object) -> T:
        """Call a reader of the store in the one thread that has a connection."""
        work = partial(find, self._store, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._lookups, work)


def tokenizer_info(folder: Path) -> dict[str, Any]:
    """The tokenizer_config.json of a folder, its tokens as texts, with the chat template where it is a file."""
    config = read_json(folder / "tokenizer_config.json", optional=True)
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        if isinstance(config.get(name), dict):
            config[name] = config[name].get("content")
        config.setdefault(name, None)
    template = folder / "chat_template.jinja"
    if not config.get("chat_template") and template.is_file():
        config["chat_template"] = template.read_text("utf-8")
    return config


def _version(model: Resolved) -> tuple[object, ...]:
    """Base and adapter as versions of files."""
    files = [path for path in (model.gguf, model.adapter and model.adapter / "adapter_config.json") if path]
    return tuple((path, path.stat().st_mtime_ns) for path in files)
