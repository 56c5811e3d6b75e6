"""A chat client that says what a test tells it, piece by piece, and no server behind it.
Stands in for engine.inference.client.Client in the screens' tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.inference.client import Delta, Done
from engine.inference.sampling import Sampling

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

    async def connect(self, *_: Any, **__: Any) -> ScriptedClient:
        self.connections += 1
        return self

    async def stream(
        self, model: str, messages: list[dict[str, str]], sampling: Sampling, lane: str | None = None
    ) -> AsyncIterator[Delta | Done]:
        self.asked.append((model, messages, sampling))
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

    async def close(self) -> None:
        return None
