"""What a launcher is: how the process of a run is started. Watching and ending it is run_control's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Launcher(Protocol):
    """One way to start a worker."""

    @property
    def name(self) -> str:
        """What a configuration calls it."""

    @property
    def summary(self) -> str:
        """One sentence for help texts."""

    def start(self, argv: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> tuple[int, float]:
        """Start the worker's command line, detached from the terminal, its output appended to `log`.

        Returns the process id on this host and its start time (seconds since the epoch). OSError when it cannot be
        started.
        """
