"""The local launcher: the worker is one process on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core import process
from engine.training.launchers.base import LaunchedConfig
from store.errors import BadInput


@dataclass(frozen=True, slots=True)
class LocalLauncher:
    """Starts one process in a session of its own."""

    name: str = "local"
    summary: str = "One process on this machine."

    def check(self, config: LaunchedConfig) -> None:
        """See Launcher.check."""
        if config.processes > 1:
            raise BadInput(
                f"The launcher local starts one process, not {config.processes}.",
                where="processes",
                todo="Take the launcher torchrun.",
            )
        if config.shard:
            raise BadInput(
                "The launcher local starts one process, which holds the whole model.",
                where="shard",
                todo="Take the launcher torchrun and at least 2 processes, or do not shard the model.",
            )

    def limits(self, config: LaunchedConfig, *, cores: int, cards: int) -> list[str]:
        """See Launcher.limits."""
        return []

    def start(
        self, argv: Sequence[str], *, processes: int, log: Path, cwd: Path, env: Mapping[str, str]
    ) -> tuple[int, float]:
        """See Launcher.start."""
        return process.spawn(argv, log=log, cwd=cwd, env=env)


LOCAL = LocalLauncher()
