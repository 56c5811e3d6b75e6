"""Which context answers for which lane: one for each lane of a base, kept with its cache, the least recently used one
dropped. Bookkeeping of the event loop only; making and freeing contexts is handed in."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """A context: `size` in tokens."""

    size: int

    def free(self) -> None: ...


@dataclass(slots=True)
class _Queue:
    """The lock of one name, and how many requests use it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


C = TypeVar("C", bound=Sized)
MAX_CONTEXTS = 6
SMALLEST = 2048


class ContextPool(Generic[C]):
    """The contexts of one base model. A named lane answers one request at a time; the others of that lane wait.

    `make(size)` gives a new context of at least that many tokens. At most `limit` contexts are kept; one in use is
    never freed.
    """

    def __init__(self, make: Callable[[int], Awaitable[C]], limit: int = MAX_CONTEXTS) -> None:
        self._make, self._limit = make, limit
        self._idle: OrderedDict[str, C] = OrderedDict()  # least recently used first
        self._turns: dict[str, _Queue] = {}
        self._anonymous = 0
        self.busy = 0

    def __len__(self) -> int:
        return len(self._idle) + self.busy

    @asynccontextmanager
    async def use(self, lane: str | None, size: int) -> AsyncIterator[C]:
        """The lane's context, of at least `size` tokens; without a lane, any context that no lane owns."""
        name = f"lane:{lane}" if lane is not None else self._free_name()
        async with self._turn(name):
            self.busy += 1
            context: C | None = None
            try:
                context = await self._take(name, size)
                yield context
            finally:
                self.busy -= 1
                if context is not None:
                    self._idle[name] = context
                self._trim()

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """One request at a time under this name; the entry is removed when no request waits."""
        turn = self._turns.setdefault(name, _Queue())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[name]

    async def _take(self, name: str, size: int) -> C:
        kept = self._idle.pop(name, None)
        if kept is not None and kept.size >= size:
            return kept
        if kept is not None:
            kept.free()  # too small: a larger one takes its place
        self._trim()
        return await self._make(size)

    def _free_name(self) -> str:
        """Names of contexts without a lane are numbered; a free one is taken before a new one is made."""
        for name in reversed(self._idle):
            if name.startswith("any:") and name not in self._turns:
                return name
        self._anonymous += 1
        return f"any:{self._anonymous}"

    def _trim(self) -> None:
        while self._idle and len(self) > self._limit:
            self._idle.popitem(last=False)[1].free()

    def free_idle(self) -> None:
        """Free every context that is not in use."""
        while self._idle:
            self._idle.popitem()[1].free()


def size_for(tokens: int, largest: int) -> int:
    """Context size to make for this many tokens: doubling from `SMALLEST`, so that short chats cost little memory."""
    size = SMALLEST
    while size < tokens:
        size *= 2
    return min(size, largest)
