"""Talks to the chat server over HTTP and starts it when it is not there: how screens and commands reach a model.
No model, template or sampling logic here; httpx is imported on first use, to keep the user interface's start short."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from store.home import Home

from engine.sampling import Sampling
from store.records import Message

Stop = Literal["end", "length", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of an answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """How an answer ended. `text` is the whole answer, also when `stop` is "error"; `error` is then a sentence.

    Times are the server's: `ttft_ms` from the request to the first token, `tokens_per_s` over the tokens after it.
    `context_used` of `context_size` tokens are taken after the answer; `dropped_turns` earlier messages did not fit.
    """

    text: str
    tokens: int = 0
    prompt_tokens: int = 0
    stop: Stop = "end"
    ttft_ms: float | None = None
    tokens_per_s: float | None = None
    context_used: int = 0
    context_size: int = 0
    dropped_turns: int = 0
    error: str | None = None


class Client:
    """A connection to the chat server of one home: `await Client.connect(home)`, at the end `await client.close()`."""

    @classmethod
    async def connect(cls, home: Home, *, start: bool = True) -> Client:
        """Reach the home's chat server, starting it detached when none answers.

        Raises ServerError when it cannot be started (with the tail of its log), or is absent and `start` is False.
        """
        raise NotImplementedError

    def stream(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> AsyncIterator[Delta | Done]:
        """Yield the answer's pieces, then one `Done`. Closing the iterator cancels the generation on the server.

        `lane` names a conversation side whose prefix the server may keep. A refused request raises what it was refused
        with (NotFound, BadInput, …); an answer that breaks off ends in `Done(stop="error")` with the text so far.
        """
        raise NotImplementedError

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        """The whole answer at once; fails like `stream`."""
        raise NotImplementedError

    async def honesty(self, a: str, b: str, *, lane_a: str | None = None, lane_b: str | None = None) -> dict[str, Any]:
        """Prove with numbers what each side is: see `engine.chat.honesty`."""
        raise NotImplementedError

    async def load(self, model: str) -> dict[str, Any]:
        """Load a model now, so that its first answer starts at once: {"model", "ms", "backend"}."""
        raise NotImplementedError

    async def models(self) -> list[str]:
        """The model references that the server knows."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections; the server stays."""
        raise NotImplementedError


def shutdown(home: Home, *, timeout_s: float = 5.0) -> bool:
    """End the home's chat server. False when none was running."""
    raise NotImplementedError
