"""What a backend is: something that turns a conversation into pieces of text and one `Finish`, in the server's event
loop. Only the shared shapes live here; each backend is a module of its own and is imported on first use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, Protocol

from engine.inference.prompts import Prompt
from engine.inference.sampling import Sampling
from engine.models.refs import Resolved
from store.records import Message


@dataclass(frozen=True, slots=True)
class Job:
    """One request for an answer. `lane` names a conversation side whose prefix may be kept; None keeps nothing.

    `asked` is the `perf_counter` time at which the request came in: the time to the first token counts from there.
    """

    model: Resolved
    messages: tuple[Message, ...]
    sampling: Sampling
    lane: str | None = None
    asked: float = field(default_factory=perf_counter)


@dataclass(frozen=True, slots=True)
class Finish:
    """How an answer ended, in tokens and milliseconds; see `engine.inference.client.Done` for the meaning of each."""

    stop: Literal["end", "length"]
    tokens: int
    prompt_tokens: int
    ttft_ms: float | None = None
    tokens_per_s: float | None = None
    context_used: int = 0
    context_size: int = 0
    dropped_turns: int = 0
    model: str = ""


class Backend(Protocol):
    """One way to run models.

    All methods are called from the event loop; heavy work happens in threads of the backend.
    """

    name: str

    async def load(self, model: Resolved) -> None:
        """Make the model ready, so that its first answer starts at once."""

    def generate(self, job: Job) -> AsyncGenerator[str | Finish, None]:
        """Pieces of the answer, then one `Finish`. Closing the iterator ends the work within one token."""

    async def prompt(self, model: Resolved, messages: Sequence[Message]) -> Prompt:
        """What the model would be given for these messages."""

    async def logits(self, model: Resolved, ids: Sequence[int], lane: str | None) -> Sequence[float]:
        """Next-token logits after `ids` on the very context that answers for `lane`; its kept prefix is left as
        it was."""

    async def plain_logits(self, model: Resolved, ids: Sequence[int]) -> Sequence[float]:
        """The same from the plain base of `model`, on a fresh context that never had an adapter."""

    async def unload_idle(self, seconds: float, keep: Sequence[Resolved]) -> None:
        """Free every model that answered nothing for `seconds`, but those in `keep`."""

    async def close(self) -> None:
        """Free everything."""


def rate(tokens: int, first: float | None, last: float) -> float | None:
    """Tokens a second after the first one; None when there were not two."""
    return (tokens - 1) / (last - first) if first is not None and tokens > 1 and last > first else None
