"""What a backend is: something that turns a conversation into pieces of text and one `Finish`, in the server's event
loop. Each backend is a module of its own and is imported on first use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from engine.inference.prompts import EncodedPrompt
from engine.inference.records import Finish, GenerationRequest, Piece
from engine.models.refs import Resolved
from store.records import Message


class Backend(Protocol):
    """One way to run models.

    All methods are called from the event loop; heavy work happens in threads of the backend.
    """

    name: str

    async def load(self, model: Resolved) -> None:
        """Make the model ready, so that its first answer starts without a wait."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finish, None]:
        """Pieces of the answer, then one `Finish`. Closing the iterator ends the work within one token.

        Raises BadInput or Unsupported naming the field (`where`) for sampling that this backend cannot do.
        """

    async def prompt(self, model: Resolved, messages: Sequence[Message]) -> EncodedPrompt:
        """What the model would be given for these messages."""

    async def logits(self, model: Resolved, ids: Sequence[int], lane: str | None) -> Sequence[float]:
        """Next-token logits after `ids` on the very context that answers for `lane`; its kept prefix is left as
        it was."""

    async def plain_logits(self, model: Resolved, ids: Sequence[int]) -> Sequence[float]:
        """The same from the plain base of `model`, on a fresh context that never had an adapter."""

    async def answer_logprobs(self, model: Resolved, messages: Sequence[Message]) -> list[float]:
        """The natural log probability of each token of the last message, an assistant's, with the end of its turn.

        BadInput when the conversation is longer than the context, or the template does not show the answer; Unsupported
        where logits cannot be seen.
        """

    async def unload_idle(self, seconds: float, keep: Sequence[Resolved]) -> None:
        """Free every model that answered nothing for `seconds`, but those in `keep`."""

    async def close(self) -> None:
        """Free everything."""


def rate(tokens: int, first: float | None, last: float) -> float | None:
    """Tokens per second after the first one; None when there were not two."""
    return (tokens - 1) / (last - first) if first is not None and tokens > 1 and last > first else None
