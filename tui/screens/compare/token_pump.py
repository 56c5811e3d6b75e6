"""Gathers what streams in and lets the screen show it ten times a second, however fast tokens come.
Skips a beat while the terminal has not yet taken the last one: a slow link must never block a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.message_pump import MessagePump

HERTZ = 10


def backlog(app: Any) -> int:
    """How many writes the terminal has not taken yet; 0 where the driver has no queue (tests, web)."""
    writer = getattr(getattr(app, "_driver", None), "_writer_thread", None)
    waiting = getattr(writer, "_queue", None)
    return 0 if waiting is None else waiting.qsize()


class TokenPump:
    """`mark(name)` says that something changed; `flush(names)` follows, at most ten times a second. Idle, it sleeps."""

    def __init__(self, owner: MessagePump, flush: Callable[[set[str]], None], *, hertz: float = HERTZ) -> None:
        self._owner = owner
        self._flush = flush
        self._dirty: set[str] = set()
        self._timer = owner.set_interval(1 / hertz, self.beat, pause=True, name="token pump")
        self._awake = False
        self.skipped = 0

    def mark(self, name: str) -> None:
        """Show `name` with the next beat."""
        self._dirty.add(name)
        if not self._awake:
            self._awake = True
            self._timer.resume()

    def beat(self) -> None:
        """Show what is due, unless the terminal is behind."""
        if not self._dirty:
            self._awake = False
            self._timer.pause()
            return
        if backlog(self._owner.app):
            self.skipped += 1
            return
        names, self._dirty = self._dirty, set()
        self._flush(names)
