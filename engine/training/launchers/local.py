"""The local launcher: the worker is one process on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core import process


@dataclass(frozen=True, slots=True)
class LocalLauncher:
    """Starts one process in a session of its own."""

    name: str = "local"
    summary: str = "One process on this machine."

    def start(self, argv: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> tuple[int, float]:
        """See Launcher.start."""
        return process.spawn(argv, log=log, cwd=cwd, env=env)


LOCAL = LocalLauncher()
