"""What exports of one run are compared with: questions, the answers of base and run, reference logits.
Each is computed once, when first needed, and used for every target; verification.py does the comparing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from engine.core import process
from engine.export.torch_process import Reference
from engine.gguf.llama_library import LlamaModel
from engine.inference.backends.llama_context import Context
from engine.inference.backends.llama_cpp import LlamaCpp
from engine.inference.records import Finish, GenerationRequest
from engine.inference.sampling import Sampling
from engine.inference.template_cache import TemplateCache
from engine.inference.threads import Budget
from engine.models.chat_template import ChatTemplate
from engine.models.refs import Resolved
from store.errors import Unsupported
from store.home import Home
from store.records import Message, Probe, SnapshotRow

QUESTIONS = 10
ANSWER_TOKENS = 48
"""Of every answer, the base's too: two answers that were cut at different places always differ."""
ROW_TOKENS = 64
SAMPLING = Sampling(temperature=0.0, max_tokens=ANSWER_TOKENS)
_NEUTRAL = "Name three things that every kitchen has, and say what each of them is for."
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What a model said, whether it ended its turn by itself, and how fast it wrote, where that was measured."""

    text: str
    stopped: bool
    tokens_per_s: float | None = None


class ReferenceMeasurements:
    """What exports of one run, or of a checkpoint, are compared with. `scratch` is a folder for its files; set `tell`
    to hear of what takes time: (text, done, total)."""

    def __init__(
        self,
        home: Home,
        model: Resolved,
        rows: Sequence[SnapshotRow],
        probes: Sequence[Probe],
        scratch: Path,
    ) -> None:
        assert model.base is not None and model.folder is not None and model.adapter is not None
        self.home, self.model, self.probes, self.scratch = home, model, list(probes), scratch
        self.tell: Tell = lambda text, done, total: None
        self.base, self.adapter, self.folder = model.base, model.adapter, model.folder
        self._templates = TemplateCache()
        self.template: ChatTemplate = self._templates.of(model.tokenizer or model.folder)
        picked = _picked(rows)
        self.conversations: list[list[Message]] = [row.messages[:-1] for row in picked]
        self.conversations += [_asked(probe) for probe in self.probes]
        texts = [row.messages for row in picked[:3]] + [[_user(_NEUTRAL)]]
        self.rows = [self._ids(messages) for messages in texts]
        self._started: list[Reference] = []
        self._reference = self._ask_transformers(self.folder, self.adapter, 0)  # torch takes seconds to start

    def _ids(self, messages: list[Message]) -> list[int]:
        if messages[-1]["role"] == "assistant":
            return list(self.template.example(messages, ROW_TOKENS).ids)
        return self.template.encode(messages)[:ROW_TOKENS]

    # -- what the run itself says --------------------------------------------------------------------------------------

    @cached_property
    def base_answers(self) -> list[GivenAnswer]:
        """The base model's to the questions of the data, as its lane in Compare gives them."""
        return self._lane(self.base, len(self.conversations) - len(self.probes))

    @cached_property
    def tuned_answers(self) -> list[GivenAnswer]:
        """The run's, as its lane in Compare gives them."""
        return self._lane(self.model)

    @cached_property
    def logits(self) -> list[np.ndarray]:
        """transformers and PEFT in float32 on `rows`: arrays of shape (tokens, vocabulary)."""
        self.tell("Asking transformers", 0, 0)
        return self._reference.result()[0]

    def _lane(self, model: Resolved, first: int | None = None) -> list[GivenAnswer]:
        if model.gguf is not None:
            with contextlib.suppress(Unsupported):  # an adapter that llama.cpp cannot hold
                return self.ask(model, first)
        return self.reference(self.folder, model.adapter, first)[1]

    # -- instruments ---------------------------------------------------------------------------------------------------

    def ask(self, model: Resolved, first: int | None = None) -> list[GivenAnswer]:
        """Greedy answers of a GGUF file or a lane to the `first` conversations (None: all), through the chat server's
        own backend."""
        return asyncio.run(self._ask(model, self.conversations[:first]))

    async def _ask(self, model: Resolved, conversations: list[list[Message]]) -> list[GivenAnswer]:
        backend = LlamaCpp(self.home, self._templates, Budget(), workers=2, context=2048)
        answers = []
        try:
            for number, messages in enumerate(conversations, 1):
                text, stopped, speed = "", False, None
                async for item in backend.generate(GenerationRequest(model, tuple(messages), SAMPLING)):
                    if isinstance(item, Finish):
                        stopped, speed = item.stop == "end", item.tokens_per_s
                    elif isinstance(item, str):
                        text += item
                answers.append(GivenAnswer(text, stopped, speed))
                self.tell(f"Asking {model.title}", number, len(conversations))
        finally:
            await backend.close()
        return answers

    def measure(self, gguf: Path, adapter: Path | None = None) -> list[np.ndarray]:
        """llama.cpp's logits on `rows`, every position: arrays of shape (tokens, vocabulary)."""
        weights = LlamaModel(gguf)
        try:
            context = Context(weights, ROW_TOKENS * 2, process.cores())
            context.use_adapter(adapter)
            logits = [np.frombuffer(context.all_logits(row), np.float32) for row in self.rows]
            return [each.reshape(-1, weights.n_vocab) for each in logits]
        finally:
            weights.free()

    def reference(
        self, folder: Path, adapter: Path | None, answers: int | None
    ) -> tuple[list[np.ndarray], list[GivenAnswer]]:
        """What transformers makes of a folder, in a process of its own: logits on `rows`, and answers to the first
        `answers` conversations (None: all).

        Raises WorkerError when it cannot load the model.
        """
        self.tell("Asking transformers", 0, 0)
        logits, said = self._ask_transformers(folder, adapter, answers).result()
        return logits, [self._answer(ids) for ids in said]

    def _ask_transformers(self, folder: Path, adapter: Path | None, answers: int | None) -> Reference:
        prompts = [self.template.encode(messages) for messages in self.conversations[:answers]]
        stop = sorted(self.template.stop_ids)
        wanted = {"folder": str(folder), "adapter": adapter and str(adapter), "rows": self.rows, "prompts": prompts}
        started = Reference(wanted | {"stop": stop, "max_tokens": ANSWER_TOKENS}, self.scratch)
        self._started.append(started)
        return started

    def close(self) -> None:
        """End what still runs."""
        for started in self._started:
            started.close()

    def _answer(self, ids: list[int]) -> GivenAnswer:
        stopped = bool(ids) and ids[-1] in self.template.stop_ids
        return GivenAnswer(self.template.decode(ids[:-1] if stopped else ids, special=False), stopped)


def _picked(rows: Sequence[SnapshotRow]) -> list[SnapshotRow]:
    """A few rows that represent the data: identity rows first, since losing those is worst, then by hash."""
    order = sorted(rows, key=lambda row: (row.kind != "identity", row.content_hash))
    return order[:QUESTIONS]


def _asked(probe: Probe) -> list[Message]:
    system: list[Message] = [{"role": "system", "content": probe.system}] if probe.system else []
    return [*system, _user(probe.question)]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def kl(reference: Sequence[np.ndarray], measured: Sequence[np.ndarray]) -> float:
    """Mean Kullback-Leibler divergence over all positions, in nats; the vocabulary may be padded in either."""
    found: list[Any] = []
    for p, q in zip(reference, measured, strict=True):
        width = min(p.shape[1], q.shape[1])
        log_p, log_q = _log_softmax(p[:, :width]), _log_softmax(q[:, :width])
        found.append((np.exp(log_p) * (log_p - log_q)).sum(-1))
    return float(np.concatenate(found).mean())


def _log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values.astype(np.float64) - values.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
