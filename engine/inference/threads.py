"""How many CPU cores an answer may use: answers share what training runs leave free.
Two thread pools that each use every core slow each other down five to ten times, so each gets a share only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from engine.core import process
from store import runs
from store.db import Store

_LOOK_AGAIN_S = 2.0
_FRESH_HEARTBEAT_MS = 15_000


@dataclass(slots=True)
class Budget:
    """Threads for each answer: the cores that no training run uses, divided by the answers that are being made now."""

    cores: int = field(default_factory=process.cores)
    taken: Callable[[], int] = lambda: 0
    active: int = 0
    _taken: int = 0
    _looked: float = float("-inf")

    def share(self) -> int:
        """Threads that one answer may use now; at least one. Cheap: may be asked before every token."""
        return max(1, (self.cores - self._taken) // max(1, self.active))

    def look(self) -> None:
        """Ask again what training uses, unless that was just done. Reads the store: not for the event loop."""
        if monotonic() - self._looked > _LOOK_AGAIN_S:
            self._looked = monotonic()
            self._taken = self.taken()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Counts as an active answer while inside."""
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1


def training_threads(store: Store, cores: int) -> int:
    """Threads that live training runs use on this machine, as their configuration says; all but a quarter when
    it is silent."""
    used = 0
    for attempt in runs.live_attempts(store):
        if store.now() - attempt.heartbeat_at > _FRESH_HEARTBEAT_MS or attempt.host != process.here():
            continue
        threads = runs.by_id(store, attempt.run_id).config.get("threads")
        used += threads or cores - cores // 4
    return min(used, cores)
