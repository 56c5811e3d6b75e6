"""The Ray launcher: Ray Train starts several processes on this machine that share the passes of each step.
Ray is an extra; it is imported by the run's own process only."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core import process
from engine.training.launchers.base import LaunchedConfig, check_several, limits_here
from store.errors import Unsupported


@dataclass(frozen=True, slots=True)
class RayLauncher:
    """Starts Ray's driver in a session of its own."""

    name: str = "ray"
    summary: str = "The same by Ray Train, which is an extra: pip install 'tuningfork[ray]'."

    def check(self, config: LaunchedConfig) -> None:
        """See Launcher.check."""
        check_several(config, self.name)

    def limits(self, config: LaunchedConfig, *, cores: int, cards: int) -> list[str]:
        """See Launcher.limits."""
        if importlib.util.find_spec("ray") is None:
            raise Unsupported(
                "The launcher ray needs Ray, which is not installed.",
                where="launcher",
                todo="Install it (pip install 'tuningfork[ray]'), or take the launcher torchrun.",
            )
        return limits_here(config, cores, cards)

    def start(
        self, argv: Sequence[str], *, processes: int, log: Path, cwd: Path, env: Mapping[str, str]
    ) -> tuple[int, float]:
        """See Launcher.start."""
        return process.spawn([*argv, "--ray", str(processes)], log=log, cwd=cwd, env=env)


RAY = RayLauncher()
