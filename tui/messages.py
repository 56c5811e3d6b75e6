"""What parts of the interface tell each other.
A message carries facts, never a widget."""

from __future__ import annotations

from dataclasses import dataclass

from store.records import Run


@dataclass(frozen=True, slots=True)
class LiveRuns:
    """The runs that are going on, how many wait, and the runs that are being exported, for the masthead; the quit guard
    speaks of the first."""

    runs: tuple[Run, ...] = ()
    queued: int = 0
    exported: tuple[str, ...] = ()
