"""What evaluation needs of a chat client.
A protocol only: tests and other servers stand in for `engine.inference.client.Client`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.inference.client import Done
from engine.inference.sampling import Sampling
from store.records import Message


class CompletionClient(Protocol):
    """Asks a model for a whole answer."""

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        """The answer of `model` to `messages`; `stop` is "error" when it broke off."""
        ...
