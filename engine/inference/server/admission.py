"""Limits how many answers are generated at once and how many requests may wait; further requests are refused.
Knows nothing about models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.inference.protocol import Refusal
from store.errors import Conflict

MAX_ACTIVE = 4
MAX_WAITING = 16
_RETRY_S = 2


class Admission:
    """Admits at most `active` requests at once and lets at most `waiting` more wait."""

    def __init__(self, active: int = MAX_ACTIVE, waiting: int = MAX_WAITING) -> None:
        self._places, self._most_waiting = asyncio.Semaphore(active), waiting
        self.waiting = 0
        self.inside = 0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Wait for a place. Raises a Refusal with status 429 when too many wait already."""
        if self._places.locked() and self.waiting >= self._most_waiting:
            busy = Conflict(
                f"The chat server is busy: {self.waiting} requests wait already.", todo="Try again in a moment."
            )
            raise Refusal(busy, 429, retry_after=_RETRY_S)
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self._places.release()
