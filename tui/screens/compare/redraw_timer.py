"""Gathers what changed and has it shown ten times a second at most, however fast tokens come.
Skips a turn while the terminal has not taken the last one: a slow link must never hold up a key."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from textual.message_pump import MessagePump

HERTZ = 10


def backlog(app: Any) -> int:
    """How many writes the terminal has not taken yet; 0 where the driver has no queue (tests, web)."""
    writer = getattr(getattr(app, "_driver", None), "_writer_thread", None)
    waiting = getattr(writer, "_queue", None)
    return 0 if waiting is None else waiting.qsize()


class RedrawTimer:
    """`request(what)` notes what changed; `show(changes)` follows, at most ten times a second. Idle, it sleeps."""

    def __init__(self, owner: MessagePump, show: Callable[[set[Hashable]], None], *, hertz: float = HERTZ) -> None:
        self._owner = owner
        self._show = show
        self._changes: set[Hashable] = set()
        self._timer = owner.set_interval(1 / hertz, self.tick, pause=True, name="redraw timer")
        self._awake = False
        self.skipped = 0

    def request(self, what: Hashable) -> None:
        """Show `what` with the next tick."""
        self._changes.add(what)
        if not self._awake:
            self._awake = True
            self._timer.resume()

    def tick(self) -> None:
        """Show what is due, unless the terminal is behind."""
        if not self._changes:
            self._awake = False
            self._timer.pause()
            return
        if backlog(self._owner.app):
            self.skipped += 1
            return
        changes, self._changes = self._changes, set()
        self._show(changes)
