"""Answers through transformers and PEFT: both sides of a comparison as rows of one batch, each with its own adapter
and seed. For models that llama.cpp cannot load, and for CUDA. The one module of the chat server that imports torch."""

from __future__ import annotations

import asyncio
import gc
import itertools
import queue
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging as transformers_logging

from engine.inference import failures
from engine.inference.backends.adalora import write_lora
from engine.inference.backends.base import check_ids, check_size, rate
from engine.inference.limits import PENALTY_WINDOW
from engine.inference.prompts import AnsweredPrompt, EncodedPrompt, answered, build, plain
from engine.inference.records import Finish, GenerationRequest, Piece, ScoredBatch, ScoredToken, TokenLogprob
from engine.inference.sampling import Sampling
from engine.inference.template_cache import TemplateCache
from engine.inference.text_stream import TextStream
from engine.inference.threads import Budget
from engine.models import adapter_kinds, inspection
from engine.models.chat_template import ChatTemplate, read_json
from engine.models.refs import Resolved
from engine.models.token_bytes import token_bytes
from engine.models.token_text import TokenText
from store.errors import BadInput, ServerError, Unsupported
from store.records import Message

transformers_logging.disable_progress_bar()
BASE = "__base__"  # PEFT's name for a row without an adapter
JOIN_S = 0.02
"""How long a first row waits for its sibling: both lanes of a comparison are asked within a few milliseconds."""
MAX_ADAPTERS = 8
_SCORED = 128
"""Tokens that are scored at a time: with 150,000 entries of a vocabulary their probabilities take 150 MB."""
_Ended = tuple[str, tuple[int, ...], float | None, float]
"""How a row ended: why, its tokens (with the one that ended it), when the first of them came and when the last."""


@dataclass(eq=False, slots=True)
class BatchRow:
    """One answer in the making. `emit` may be called from any thread."""

    ids: list[int]
    adapter: str
    sampling: Sampling
    stop_ids: frozenset[int]
    limit: int
    decode: Callable[[list[int]], str]
    emit: Callable[[Piece | _Ended | Exception], None]
    cancelled: bool = False
    made: list[int] = field(default_factory=list)
    first: float | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)
    text: TextStream = field(init=False)
    spoken: TokenText = field(init=False)

    def __post_init__(self) -> None:
        self.generator.manual_seed(self.sampling.seed)  # on the CPU: the same on every device
        self.text = TextStream(self.sampling.stop)
        self.spoken = TokenText(self.decode)

    def begin(self, prefix: Sequence[int]) -> bool:
        """Let the answer begin with these tokens, which `ids` must end with; True when it has ended by them."""
        return any(self._add(token) for token in prefix)

    def take(self, logits: torch.Tensor) -> bool:
        """Choose the next token from `logits`, shape (vocabulary,); True when the answer has ended by it."""
        token = choose(logits, self.sampling, self.made, self.generator)
        self.first = self.first or perf_counter()
        if self.sampling.top_logprobs is not None and token not in self.stop_ids:
            self.emit(self._logprobs(logits, token))
        return self._add(token)

    def _add(self, token: int) -> bool:
        if token in self.stop_ids:
            return self._end("end", token)
        self.made.append(token)
        if piece := self.text.feed(self.spoken.feed(token).encode()):
            self.emit(piece)
        if self.text.stopped:
            return self._end("end")
        return self._end("length") if len(self.made) >= self.limit else False

    def _logprobs(self, logits: torch.Tensor, token: int) -> TokenLogprob:
        values = torch.log_softmax(logits.double().cpu(), -1)
        best = values.topk(self.sampling.top_logprobs or 0)
        top = tuple(
            (self.decode([one]).encode(), value)
            for one, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        )
        return TokenLogprob(self.decode([token]).encode(), float(values[token]), top)

    def _end(self, stop: str, *by: int) -> bool:
        if rest := self.text.feed(self.spoken.rest().encode(), final=True):
            self.emit(rest)
        self.emit((stop, (*self.made, *by), self.first, perf_counter()))
        return True


def choose(logits: torch.Tensor, sampling: Sampling, made: Sequence[int], generator: torch.Generator) -> int:
    """The next token: bias, penalties, temperature, top_k, top_p, min_p, then a draw; greedy at temperature 0."""
    scores = logits.float().cpu().clone()  # the model's own stay as they are
    for token, bias in sampling.logit_bias:
        scores[token] += bias
    if sampling.repeat_penalty != 1.0 and made:
        recent = torch.tensor(sorted(set(made[-PENALTY_WINDOW:])))
        seen = scores[recent]
        penalty = sampling.repeat_penalty
        scores[recent] = torch.where(seen > 0, seen / penalty, seen * penalty)
    if made and (sampling.frequency_penalty or sampling.presence_penalty):
        seen_tokens, counts = torch.tensor(list(made)).unique(return_counts=True)
        scores[seen_tokens] -= counts * sampling.frequency_penalty + sampling.presence_penalty
    if sampling.temperature <= 0:
        return int(scores.argmax())
    probabilities, tokens = torch.softmax(scores / sampling.temperature, -1).sort(descending=True)
    if sampling.top_k > 0:
        probabilities = probabilities[: sampling.top_k]
    if sampling.top_p < 1:
        before = probabilities.cumsum(0) - probabilities
        probabilities = probabilities[: max(1, int((before < sampling.top_p * probabilities.sum()).sum()))]
    if sampling.min_p > 0:
        probabilities = probabilities[probabilities >= sampling.min_p * probabilities[0]]
    return int(tokens[torch.multinomial(probabilities, 1, generator=generator)])


class Batch:
    """Rows that advance together through one model, padded on the left, over one key-value cache."""

    def __init__(self, model: LoadedModel, rows: list[BatchRow]) -> None:
        self._model, self.rows = model, rows
        longest = max(len(row.ids) for row in rows)
        gaps = [longest - len(row.ids) for row in rows]
        self._mask = torch.tensor([[0] * gap + [1] * (longest - gap) for gap in gaps], device=model.device)
        self._next = torch.tensor(
            [[0] * gap + row.ids for gap, row in zip(gaps, rows, strict=True)], device=model.device
        )
        self._cache, virtual = model.beginning(rows[0].adapter, len(rows))
        self._mask = torch.nn.functional.pad(self._mask, (virtual, 0), value=1)

    def step(self) -> None:
        """One token for each row; rows that ended or were cancelled leave."""
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, -self._next.shape[1] :]
        output = self._model.forward(
            [row.adapter for row in self.rows],
            input_ids=self._next,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        logits = output.logits[:, -1, :]
        stay = [at for at, row in enumerate(self.rows) if not row.cancelled and not row.take(logits[at])]
        if len(stay) < len(self.rows):
            self._keep(stay)
        if self.rows:
            self._next = torch.tensor([[row.made[-1]] for row in self.rows], device=self._mask.device)
            self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)

    def _keep(self, stay: list[int]) -> None:
        self.rows = [self.rows[at] for at in stay]
        if self.rows:
            index = torch.tensor(stay, device=self._mask.device)
            self._mask = self._mask[index]
            self._cache.batch_select_indices(index)


@dataclass(eq=False, slots=True)
class _Reading:
    """Ids that are being scored from `first` on: how far they are read, and the keys and values of what is read."""

    ids: Sequence[int]
    first: int
    adapter: Path | None
    top: int
    read: int = 0
    cache: Any = None


class LoadedModel:
    """One base in memory with any number of adapters beside it, and the thread that alone uses them."""

    def __init__(self, folder: Path, budget: Budget, whole: Path | None = None) -> None:
        """Loads in the calling thread, with all weights of the adapter `whole` in place of the base's. Raises
        Unsupported with the library's reason."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            # Half precision saves memory on a GPU; on a CPU it is slower and less exact than float32.
            dtype = "auto" if self.device == "cuda" else torch.float32
            inspection.inspect(folder).require()
            with inspection.whole_model(folder) as view:
                loaded, info = AutoModelForCausalLM.from_pretrained(
                    view, dtype=dtype, local_files_only=True, output_loading_info=True
                )
        except (ImportError, MemoryError, torch.OutOfMemoryError) as error:
            raise failures.named(error) from None
        except Exception as error:  # transformers raises whatever breaks first
            raise Unsupported(f"transformers cannot load this model: {error}", where=str(folder)) from None
        inspection.require_complete(info, folder)
        if whole is not None:
            _replace_weights(loaded, whole)
        self._model: Any = loaded.to(self.device).eval()
        self.vocabulary: int = loaded.config.get_text_config().vocab_size
        self.context: int = getattr(loaded.config, "max_position_embeddings", 2048)
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in signature(loaded.forward).parameters else {}
        self._adapters: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._names = itertools.count(1)
        self._alone: set[str] = set()  # adapters that PEFT cannot mix with others in a batch
        self._virtual: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        """Of adapters that are virtual tokens: their keys and values in each layer, (1, heads, tokens, width)."""
        self._budget = budget
        self._work: queue.SimpleQueue[BatchRow | Callable[[], None] | None] = queue.SimpleQueue()
        self.users, self.used_at = 0, monotonic()
        self._thread = threading.Thread(target=self._run, name="transformers", daemon=True)
        self._thread.start()

    def submit(self, row: BatchRow) -> None:
        """Queue `row`; its `emit` gets the result."""
        self._work.put(row)

    async def call(self, work: Callable[[], Any]) -> Any:
        """Run something in the model's thread, between two tokens."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def report(result: Any, error: Exception | None) -> None:
            if not future.done():
                future.set_exception(error) if error else future.set_result(result)

        def run() -> None:
            result, error = None, None
            try:
                result = work()
            except Exception as caught:
                error = caught
            loop.call_soon_threadsafe(report, result, error)

        self._work.put(run)
        return await future

    def adapter(self, folder: Path | None) -> str:
        """Load an adapter, once for each version, and give its name; `BASE` for none. In the model's thread only."""
        if folder is None:
            return BASE
        key = (str(folder), (folder / "adapter_model.safetensors").stat().st_mtime_ns)
        if key not in self._adapters:
            self._adapters[key] = self._load_adapter(folder)
            if len(self._adapters) > MAX_ADAPTERS:
                self._drop(self._adapters.popitem(last=False)[1])
        self._adapters.move_to_end(key)
        return self._adapters[key]

    def _load_adapter(self, folder: Path) -> str:
        name, kind = f"adapter{next(self._names)}", adapter_kinds.kind_of(folder)
        if kind == "virtual":
            self._virtual[name] = self._keys_and_values(folder)
            self._alone.add(name)
            return name
        config = PeftConfig.from_pretrained(str(folder))
        with TemporaryDirectory() as scratch:
            source = str(write_lora(folder, Path(scratch)) if kind == "adalora" else folder)
            if isinstance(self._model, PeftModel):
                self._model.load_adapter(source, name)
            else:
                self._model = PeftModel.from_pretrained(self._model, source, name)
        self._model.eval()
        if getattr(config, "use_dora", False) or getattr(config, "modules_to_save", None):
            self._alone.add(name)
        return name

    def _drop(self, name: str) -> None:
        if self._virtual.pop(name, None) is None:
            self._model.delete_adapter(name)

    def _keys_and_values(self, folder: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What virtual tokens leave in each layer. The first tokens of a row see only each other, so it is the same for
        every row: deep ones are keys and values already, others pass through the model once."""
        options = PeftConfig.from_pretrained(str(folder))
        dtype = self._model.get_input_embeddings().weight.dtype
        made = load_file(folder / "adapter_model.safetensors")["prompt_embeddings"].to(self.device, dtype)
        if options.peft_type == "PREFIX_TUNING":
            heads, layers = options.num_attention_heads, options.num_layers
            both = made.view(1, len(made), layers * 2, heads, options.token_dim // heads).permute(2, 0, 3, 1, 4)
            return [(both[2 * layer], both[2 * layer + 1]) for layer in range(layers)]
        cache = self.forward([BASE], inputs_embeds=made[None], use_cache=True).past_key_values
        return [(layer.keys, layer.values) for layer in cache.layers]

    def beginning(self, adapter: str, rows: int) -> tuple[Any, int]:
        """The cache that rows of this adapter begin with, and how many tokens are in it: (None, 0) for most."""
        layers = self._virtual.get(adapter)
        if layers is None:
            return None, 0
        cache = DynamicCache(config=self._model.config.get_text_config())
        for number, (keys, values) in enumerate(layers):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), number)
        return cache, layers[0][0].shape[2]

    def forward(self, names: list[str], *, keep: int = 1, **inputs: Any) -> Any:
        """The model's output where row i goes through adapter `names[i]`; logits for the last `keep` positions."""
        if isinstance(self._model, PeftModel):
            if names[0] in self._virtual:  # in the cache already
                names = [BASE] * len(names)
            if names[0] in self._alone:
                self._model.set_adapter(names[0])
            else:
                inputs["adapter_names"] = names
        with torch.inference_mode():
            return self._model(**dict.fromkeys(self._last_only, keep), **inputs)

    def logits(self, ids: Sequence[int], adapter: Path | None, *, plain: bool = False) -> list[float]:
        """Next-token logits of one row; `plain` switches every adapter off instead of choosing none."""
        inputs = torch.tensor([list(ids)], device=self.device)
        if plain and isinstance(self._model, PeftModel):
            with self._model.disable_adapter(), torch.inference_mode():
                output = self._model(input_ids=inputs, **self._last_only)
        else:
            name = self.adapter(adapter)
            output = self.forward([name], input_ids=inputs, past_key_values=self.beginning(name, 1)[0])
        return list(output.logits[0, -1].float().tolist())

    def score(self, reading: _Reading) -> ScoredBatch:
        """Read the next tokens of `reading`, and score those of its answer that come after one of them."""
        ids, begin, first = reading.ids, reading.read, reading.first
        end = min(begin + _SCORED, len(ids) - 1)
        name, after = self.adapter(reading.adapter), max(0, end - max(begin, first - 1))
        cache = self.beginning(name, 1)[0] if begin == 0 else reading.cache
        inputs = torch.tensor([list(ids[begin:end])], device=self.device)
        output = self.forward([name], input_ids=inputs, past_key_values=cache, use_cache=True, keep=max(1, after))
        reading.read, reading.cache = end, output.past_key_values
        if not after:
            return ScoredBatch(end, ())
        values = torch.log_softmax(output.logits[0, -after:].double(), -1)
        wanted = torch.tensor(list(ids[end - after + 1 : end + 1]), device=self.device)
        logprobs = values.gather(1, wanted[:, None])[:, 0].tolist()
        best = values.topk(min(reading.top, values.shape[-1]))
        tops = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        scored = zip(wanted.tolist(), logprobs, tops, strict=True)
        return ScoredBatch(
            end, tuple(ScoredToken(id, value, tuple(zip(*top, strict=True))) for id, value, top in scored)
        )

    def close(self) -> None:
        """End the thread after what it does now, and drop the weights."""
        self._work.put(None)
        self._thread.join()
        self._model = None

    def _run(self) -> None:
        """The model's thread: batches take turns, so a late row neither waits for nor slows the others to a halt."""
        batches: list[Batch] = []
        while True:
            rows, more = self._arrivals(wait=not batches)
            if not more:
                for row in [*rows, *(row for batch in batches for row in batch.rows)]:
                    row.emit(ServerError("The model was unloaded.", todo="Ask again."))
                return
            batches += [Batch(self, group) for group in self._groups(rows)]
            batches = [batch for batch in batches if self._advance(batch)]

    def _arrivals(self, wait: bool) -> tuple[list[BatchRow], bool]:
        """Rows that came in, and False when the thread must end; other queued work is done along the way.

        With nothing else to do (`wait`), waits for a first row and then a little for its sibling.
        """
        rows: list[BatchRow] = []
        until = None if wait else monotonic()
        while True:
            try:
                item = self._work.get(timeout=None if until is None else max(0.0, until - monotonic()))
            except queue.Empty:
                return rows, True
            if item is None:
                return rows, False
            if not isinstance(item, BatchRow):
                item()
                continue
            rows.append(item)
            until = until or monotonic() + JOIN_S

    def _groups(self, rows: list[BatchRow]) -> list[list[BatchRow]]:
        """Rows that may share a batch: all, but those of an adapter that cannot be mixed."""
        groups: dict[str, list[BatchRow]] = {}
        for row in rows:
            groups.setdefault(row.adapter if row.adapter in self._alone else "", []).append(row)
        return list(groups.values())

    def _advance(self, batch: Batch) -> bool:
        threads = min(self._budget.cores, self._budget.share() * max(1, len(batch.rows)))
        if self.device == "cpu" and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        try:
            batch.step()
        except Exception as error:
            for row in batch.rows:
                row.emit(failures.named(error))
            batch.rows = []
        return bool(batch.rows)


class Transformers:
    """The backend for prepared folders. `context` bounds the tokens of one conversation."""

    name = "transformers"

    def __init__(self, templates: TemplateCache, budget: Budget, *, context: int) -> None:
        self._templates, self._budget, self._context = templates, budget, context
        self._models: dict[tuple[Path, Path | None, int], LoadedModel] = {}
        """By folder; those with an adapter's weights in place of the base's also by that adapter and its version."""
        self._loading = asyncio.Lock()

    async def load(self, model: Resolved) -> None:
        loaded = await self._loaded(model)
        await loaded.call(partial(loaded.adapter, _beside(model)))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finish, None]:
        if request.sampling.json_schema is not None:
            raise Unsupported(
                f"{request.model.title} is answered by transformers, which cannot hold answers to a schema.",
                where="response_format",
                todo="Leave response_format out, or use a model with a GGUF file.",
            )
        loaded = await self._loaded(request.model)
        beyond = next((token for token, _ in request.sampling.logit_bias if token >= loaded.vocabulary), None)
        if beyond is not None:
            raise BadInput(
                f"The model has no token {beyond}: its vocabulary has {loaded.vocabulary:,}.", where="logit_bias"
            )
        check_ids(request.prefix, loaded.vocabulary, "prefix_ids")
        check_ids(request.ids, loaded.vocabulary, "prompt")
        largest = min(self._context, loaded.context)
        tokenizer, prompt = await asyncio.to_thread(self._prompt, request, largest)
        adapter = await loaded.call(partial(loaded.adapter, _beside(request.model)))
        loop, items = asyncio.get_running_loop(), asyncio.Queue[Any]()
        row = BatchRow(
            ids=[*prompt.ids, *request.prefix],
            adapter=adapter,
            sampling=request.sampling,
            stop_ids=prompt.stop_ids,
            limit=min(request.sampling.max_tokens, largest - len(prompt.ids)),
            decode=lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
            emit=lambda item: loop.call_soon_threadsafe(items.put_nowait, item),  # type: ignore[arg-type,return-value]
        )
        loaded.users += 1
        try:
            with self._budget.one_more():
                if not row.begin(request.prefix):
                    loaded.submit(row)
                while isinstance(item := await items.get(), Piece):
                    yield item
            if isinstance(item, Exception):
                raise item
            yield _finish(item, request, prompt, largest, cut=row.text.stopped)
        finally:
            row.cancelled = True
            loaded.users -= 1
            loaded.used_at = monotonic()

    async def prompt(
        self, model: Resolved, messages: Sequence[Message], sampling: Sampling | None = None
    ) -> EncodedPrompt:
        longest, thinking = (sampling.max_tokens, sampling.thinking) if sampling else (1, None)
        largest = min(self._context, (await self._loaded(model)).context)
        template = await asyncio.to_thread(self._template, model)
        return build(template, messages, largest, longest, thinking)

    async def logits(self, model: Resolved, ids: Sequence[int], lane: str | None) -> Sequence[float]:
        loaded = await self._loaded(model)
        return list(await loaded.call(partial(loaded.logits, ids, _beside(model))))

    async def plain_logits(self, model: Resolved, ids: Sequence[int]) -> Sequence[float]:
        loaded = await self._loaded(replace(model, adapter=None))
        return list(await loaded.call(partial(loaded.logits, ids, None, plain=True)))

    async def answered(self, model: Resolved, messages: Sequence[Message], *, ended: bool = True) -> AnsweredPrompt:
        largest = min(self._context, (await self._loaded(model)).context)
        template = await asyncio.to_thread(self._template, model)
        return await asyncio.to_thread(partial(answered, template, messages, largest, ended=ended))

    async def score(
        self, model: Resolved, ids: Sequence[int], first: int, top: int = 0
    ) -> AsyncGenerator[ScoredBatch, None]:
        loaded = await self._loaded(model)
        check_ids(ids, loaded.vocabulary, "token_ids")
        check_size(ids, min(self._context, loaded.context))
        reading = _Reading(ids, first, _beside(model), top)
        loaded.users += 1
        try:
            while reading.read < len(ids) - 1:  # one call for each step: answers that stream take turns with it
                with self._budget.one_more():
                    found = await loaded.call(partial(loaded.score, reading))
                yield found
        finally:
            loaded.users -= 1
            loaded.used_at = monotonic()

    async def text_ids(self, model: Resolved, text: str, *, begin: bool) -> list[int]:
        tokenizer, _ = await asyncio.to_thread(_tokenizer, model)
        return list(tokenizer.encode(text, add_special_tokens=begin).ids)

    async def pieces(self, model: Resolved, ids: Sequence[int]) -> list[bytes]:
        template = await asyncio.to_thread(self._template, model)
        return await asyncio.to_thread(token_bytes, template.tokenizer, ids)

    async def ends(self, model: Resolved, id: int) -> bool:
        return id in (await asyncio.to_thread(_tokenizer, model))[1]

    async def unload_idle(self, seconds: float, keep: Sequence[Resolved]) -> None:
        pinned = {_key(model) for model in keep}
        for key, loaded in list(self._models.items()):
            if key not in pinned and not loaded.users and monotonic() - loaded.used_at > seconds:
                await self._unload(key)

    async def close(self) -> None:
        for loaded in self._models.values():
            await asyncio.to_thread(loaded.close)
        self._models.clear()

    async def _unload(self, key: tuple[Path, Path | None, int]) -> None:
        loaded = self._models.pop(key)
        await asyncio.to_thread(loaded.close)
        gc.collect()
        if loaded.device == "cuda":
            torch.cuda.empty_cache()

    async def _loaded(self, model: Resolved) -> LoadedModel:
        if model.folder is None:
            raise ServerError(f"{model.title} is not prepared.", todo="Try again in a few seconds.")
        return await asyncio.shield(self._load(_key(model)))

    async def _load(self, key: tuple[Path, Path | None, int]) -> LoadedModel:
        async with self._loading:
            if key not in self._models:
                older = [each for each in self._models if each[1] and each[1] == key[1]]
                for each in older:  # a run in training has new weights with every checkpoint
                    if not self._models[each].users:
                        await self._unload(each)
                self._models[key] = await asyncio.to_thread(LoadedModel, key[0], self._budget, key[1])
            self._models[key].used_at = monotonic()
            return self._models[key]

    def _prompt(self, request: GenerationRequest, largest: int) -> tuple[Tokenizer, EncodedPrompt]:
        """Tokenizer and prompt of a request. A text to continue needs no chat template."""
        longest = request.sampling.max_tokens
        if request.text is None:
            template = self._template(request.model)
            return template.tokenizer, build(template, request.messages, largest, longest, request.sampling.thinking)
        tokenizer, stop_ids = _tokenizer(request.model)
        ids = list(request.ids) or list(tokenizer.encode(request.text).ids)
        return tokenizer, plain(ids, stop_ids, largest, longest)

    def _template(self, model: Resolved) -> ChatTemplate:
        if model.tokenizer is None:
            raise ServerError(f"{model.title} is not prepared.", todo="Try again in a few seconds.")
        return self._templates.of(model.tokenizer)


def _key(model: Resolved) -> tuple[Path, Path | None, int]:
    """Folder, and for an adapter that holds all weights of its model that adapter and its version."""
    assert model.folder is not None
    if model.adapter is None or adapter_kinds.kind_of(model.adapter) != "whole":
        return model.folder, None, 0
    return model.folder, model.adapter, (model.adapter / "adapter_model.safetensors").stat().st_mtime_ns


def _beside(model: Resolved) -> Path | None:
    """The adapter that goes beside the loaded weights: none where they are its own."""
    return None if model.folder is None or _key(model)[1] else model.adapter


def _replace_weights(model: Any, adapter: Path) -> None:
    """Put all weights of an adapter into a model. Unsupported when one of them has no place in it."""
    state = load_file(adapter / "adapter_model.safetensors")
    found = model.load_state_dict(
        {name.removeprefix("base_model.model."): t for name, t in state.items()}, strict=False
    )
    if found.unexpected_keys:
        what = f"The run's weights do not fit its base: {found.unexpected_keys[0]} has no place in it"
        raise Unsupported(f"{what}.", where=str(adapter), todo="Train the run again.")


def _tokenizer(model: Resolved) -> tuple[Tokenizer, frozenset[int]]:
    """The tokenizer of a model, and the ids that end a text by its configuration."""
    if model.tokenizer is None or model.folder is None:
        raise ServerError(f"{model.title} is not prepared.", todo="Try again in a few seconds.")
    ends: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        found = read_json(model.folder / name).get("eos_token_id")
        ends |= {id for id in (found if isinstance(found, list) else [found]) if isinstance(id, int)}
    tokenizer = Tokenizer.from_file(str(model.tokenizer / "tokenizer.json"))
    tokenizer.no_truncation()
    return tokenizer, frozenset(ends)


def _finish(item: _Ended, request: GenerationRequest, prompt: EncodedPrompt, largest: int, *, cut: bool) -> Finish:
    """`cut`: a stop text ended the answer, whose tokens say more than its text."""
    stop, ids, first, last = item
    tokens = len(ids) - (ids[-1:] != () and ids[-1] in prompt.stop_ids)
    return Finish(
        stop="end" if stop == "end" else "length",
        tokens=tokens,
        prompt_tokens=len(prompt.ids),
        ttft_ms=(first - request.asked) * 1e3 if first else None,
        tokens_per_s=rate(tokens - len(request.prefix), first, last),
        context_used=len(prompt.ids) + tokens,
        context_size=largest,
        dropped_turns=prompt.dropped_turns,
        token_ids=() if cut else ids,
    )
