"""The messages between parts of the interface.
A message carries facts, never a widget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.records import Run

if TYPE_CHECKING:
    from engine.job_list import JobView


@dataclass(frozen=True, slots=True)
class LiveJobs:
    """What is running, for the masthead and for the question before quitting: training runs, how many of them wait, and
    the other jobs, running or waiting."""

    runs: tuple[Run, ...] = ()
    queued: int = 0
    jobs: tuple[JobView, ...] = ()
