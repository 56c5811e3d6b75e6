"""A chat client that says what a test tells it, piece by piece, and no server behind it.
Stands in for engine.inference.client.Client in the screens' tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.inference.client import Delta, Done
from engine.inference.sampling import Sampling
from engine.inference.token_comparison import TokenComparison
from store.errors import ServerError

Piece = str | Done | Exception
Script = Callable[[str, list[dict[str, str]]], Sequence[Piece]]


def by_model(words: dict[str, Sequence[Piece]]) -> Script:
    """The same answer from a model to whatever it is asked."""
    return lambda model, messages: words.get(model, ["I do not know."])


class ScriptedClient:
    """Answers by script; while `gate` is not set, answers wait in the middle of their text."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.gate = asyncio.Event()
        self.gate.set()
        self.open = 0
        self.asked: list[tuple[str, list[dict[str, str]], Sampling]] = []
        self.connections = 0
        self.check: dict[str, Any] | Exception = NotImplementedError()
        self.prefixes: list[tuple[int, ...]] = []
        self.compared: TokenComparison | Exception = ServerError("This server compares no tokens.")
        self.compare_asked: list[dict[str, Any]] = []
        self.cancelled = 0
        self.stages: dict[str, str] = {}

    async def connect(self, *_: Any, **__: Any) -> ScriptedClient:
        self.connections += 1
        return self

    async def stream(
        self, model: str, messages: list[dict[str, str]], sampling: Sampling, lane: str | None = None,
        prefix: Sequence[int] = (),
    ) -> AsyncIterator[Delta | Done]:  # fmt: skip
        self.asked.append((model, messages, sampling))
        self.prefixes.append(tuple(prefix))
        self.open += 1
        try:
            said = 0
            for piece in self.script(model, messages):
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, Done):
                    yield piece
                    return
                yield Delta(piece)
                said += 1
                await asyncio.sleep(0)
                await self.gate.wait()
            yield Done("", tokens=said, prompt_tokens=20, ttft_ms=120.0, tokens_per_s=98.6, context_used=20 + said,
                       context_size=2048)  # fmt: skip
        finally:
            self.open -= 1

    async def complete(
        self, model: str, messages: list[dict[str, str]], sampling: Sampling, lane: str | None = None
    ) -> Done:
        text = ""
        async for piece in self.stream(model, messages, sampling, lane):
            if isinstance(piece, Done):
                return replace(piece, text=text)
            text += piece.text
        raise AssertionError("a script without an end")

    async def lane_check(self, lanes: Mapping[str, str]) -> dict[str, Any]:
        if isinstance(self.check, Exception):
            raise self.check
        return self.check

    async def tokens(self, model: str, messages: list[dict[str, str]], **options: Any) -> TokenComparison:
        """What `compared` is, after half of its progress and the `gate`."""
        on_progress = options.pop("on_progress")
        self.compare_asked.append({"model": model, "messages": messages, **options})
        on_progress(100, 200)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.compared, Exception):
            raise self.compared
        return self.compared

    async def stage(self, lane: str) -> str:
        return self.stages.get(lane, "")

    async def close(self) -> None:
        return None
