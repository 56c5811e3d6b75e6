"""Evaluations without a chat server or a process of their own: a client whose answers are written down, and a job that
runs in this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from engine.core import jobs, process
from engine.evaluation import __main__ as job
from engine.inference.client import Client, Done
from engine.inference.sampling import Sampling
from store import jobs as kept
from store.db import Store
from store.errors import Unsupported
from store.home import Home
from store.records import Job, Message

Answer = Callable[[str, list[Message], Sampling], str]


class ScriptedClient:
    """Answers as `answer` says, in one token a word; a reference costs one nat a token for `tuned`, two for others.
    `fails_at` breaks off at that answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked, self.fails_at = answer, list[tuple[str, list[Message], Sampling]](), -1
        self.scored: list[list[Message]] = []

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        self.asked.append((model, list(messages), sampling))
        if len(self.asked) - 1 == self.fails_at:
            return Done("", stop="error", error="The chat server went away.")
        text = self.answer(model, list(messages), sampling)
        read = sum(len(message["content"].split()) for message in messages)
        return Done(text, tokens=len(text.split()), prompt_tokens=read, stop="end", tokens_per_s=10.0)

    async def score(self, model: str, messages: Sequence[Message]) -> list[float]:
        self.scored.append(list(messages))
        if "unseen" in model:
            raise Unsupported("Its logits cannot be seen.")
        return [-1.0 if "tuned" in model else -2.0] * len(messages[-1]["content"].split())

    async def load(self, model: str) -> dict[str, Any]:
        return {"model": model, "ms": 1.0, "backend": "scripted"}

    async def close(self) -> None:
        pass


def scripted(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> ScriptedClient:
    """Let evaluations ask this client, in this process."""
    client = ScriptedClient(answer)

    async def connect(home: Home, *, start: bool = True) -> ScriptedClient:
        return client

    def submit(store: Store, kind: str, name: str, module: str, request: Mapping[str, Any]) -> Job:
        made = kept.create(store, kind=kind, name=name, module=module, request=request)
        me = os.getpid()
        started = process.started_at(me) or 0.0
        kept.set_process(store, made.id, host=process.here(), pid=me, pid_started=started, log_path="logs/none.log")
        # in a thread: the main one's signals stay pytest's
        thread = threading.Thread(target=jobs.work, args=(store.home, made.token, job.do))
        thread.start()
        thread.join()
        return kept.get(store, made.id)

    monkeypatch.setattr(Client, "connect", connect)
    monkeypatch.setattr(jobs, "submit", submit)
    return client


def model_folder(path: Any) -> str:
    """A folder that resolves as a model; nothing can load it."""
    from tests.tiny import write_zeros

    path.mkdir()
    (path / "config.json").write_text('{"model_type": "llama"}')
    write_zeros(path, layers=1)
    (path / "tokenizer.json").write_text("{}")
    return str(path)
