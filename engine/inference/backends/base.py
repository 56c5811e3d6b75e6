"""What a backend is: something that turns a conversation into pieces of text and one `Finish`, in the server's event
loop. Each backend is a module of its own and is imported on first use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from engine.inference.prompts import AnsweredPrompt, EncodedPrompt
from engine.inference.records import Finish, GenerationRequest, Piece, ScoredBatch
from engine.inference.sampling import Sampling
from engine.models.refs import Resolved
from store.errors import BadInput
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

    async def prompt(
        self, model: Resolved, messages: Sequence[Message], sampling: Sampling | None = None
    ) -> EncodedPrompt:
        """What the model would be given for these messages; with this sampling, where it is known."""

    async def logits(self, model: Resolved, ids: Sequence[int], lane: str | None) -> Sequence[float]:
        """Next-token logits after `ids` on the very context that answers for `lane`; its kept prefix is left as
        it was."""

    async def plain_logits(self, model: Resolved, ids: Sequence[int]) -> Sequence[float]:
        """The same from the plain base of `model`, on a fresh context that never had an adapter."""

    async def answered(self, model: Resolved, messages: Sequence[Message], *, ended: bool = True) -> AnsweredPrompt:
        """The ids of a conversation whose last message is an assistant's, with the end of its turn if it has `ended`.

        BadInput when the conversation is longer than the context, or the template does not show the answer; Unsupported
        where logits cannot be seen.
        """

    def score(self, model: Resolved, ids: Sequence[int], first: int, top: int = 0) -> AsyncGenerator[ScoredBatch, None]:
        """The natural log probability of each of `ids[first:]` after all before it, with `top` alternatives.

        Comes some tokens at a time; closing the iterator ends the work. BadInput for ids that the model does not have,
        or more than its context holds.
        """

    async def text_ids(self, model: Resolved, text: str, *, begin: bool) -> list[int]:
        """The tokens of a text that no template is put around, after the token with which the model begins a text if
        `begin` says so and it has one."""

    async def pieces(self, model: Resolved, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each token, a control token's being its name."""

    async def ends(self, model: Resolved, id: int) -> bool:
        """Whether a token ends a text that no template is put around."""

    async def unload_idle(self, seconds: float, keep: Sequence[Resolved]) -> None:
        """Free every model that answered nothing for `seconds`, but those in `keep`."""

    async def close(self) -> None:
        """Free everything."""


def rate(tokens: int, first: float | None, last: float) -> float | None:
    """Tokens per second after the first one; None when there were not two."""
    return (tokens - 1) / (last - first) if first is not None and tokens > 1 and last > first else None


def check_ids(ids: Sequence[int], vocabulary: int, where: str) -> None:
    """BadInput that names `where` when the model's vocabulary is too small for one of the ids."""
    beyond = next((token for token in ids if not 0 <= token < vocabulary), None)
    if beyond is not None:
        raise BadInput(f"The model has no token {beyond}: its vocabulary has {vocabulary:,}.", where=where)


def check_size(ids: Sequence[int], context: int) -> None:
    """BadInput when the context does not hold so many ids."""
    if len(ids) > context:
        what = f"The conversation with its answer takes {len(ids):,} tokens, and {context:,} fit."
        raise BadInput(what, where="messages", todo="Shorten it.")
