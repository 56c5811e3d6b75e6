"""The torchrun launcher: several processes on this machine that share the passes of each step.
The worker's command line starts torchrun's elastic agent, which starts the same command line in every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core import process
from engine.training.launchers.base import LaunchedConfig, check_several, limits_here


@dataclass(frozen=True, slots=True)
class TorchrunLauncher:
    """Starts the agent in a session of its own."""

    name: str = "torchrun"
    summary: str = "Several processes on this machine, by torchrun's agent: one a GPU, or sharing the CPU's cores."

    def check(self, config: LaunchedConfig) -> None:
        """See Launcher.check."""
        check_several(config, self.name)

    def limits(self, config: LaunchedConfig, *, cores: int, cards: int) -> list[str]:
        """See Launcher.limits."""
        return limits_here(config, cores, cards)

    def start(
        self, argv: Sequence[str], *, processes: int, log: Path, cwd: Path, env: Mapping[str, str]
    ) -> tuple[int, float]:
        """See Launcher.start."""
        return process.spawn([*argv, "--torchrun", str(processes)], log=log, cwd=cwd, env=env)


TORCHRUN = TorchrunLauncher()
