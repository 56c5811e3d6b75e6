"""What a launcher is: how the processes of a run are started. Watching and ending them is run_control's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from store.errors import BadInput, Unsupported


class LaunchedConfig(Protocol):
    """What a launcher reads of a TrainConfig."""

    @property
    def objective(self) -> str:
        """What the run trains towards."""

    @property
    def method(self) -> str:
        """How the adapter is trained."""

    @property
    def processes(self) -> int:
        """Processes of the run."""

    @property
    def shard(self) -> bool:
        """Whether the model is divided among them."""

    @property
    def optimizer(self) -> str:
        """The optimizer."""

    @property
    def lr_trial(self) -> bool:
        """Whether rates are tried out first."""


class Launcher(Protocol):
    """One way to start a worker."""

    @property
    def name(self) -> str:
        """What a configuration calls it."""

    @property
    def summary(self) -> str:
        """One sentence for help texts."""

    def check(self, config: LaunchedConfig) -> None:
        """Raise BadInput for a configuration that it cannot train as the launcher local would."""

    def limits(self, config: LaunchedConfig, *, cores: int, cards: int) -> list[str]:
        """Sentences on what this machine, with so many cores and graphics cards, makes of it. Unsupported where the run
        could not start."""

    def start(
        self, argv: Sequence[str], *, processes: int, log: Path, cwd: Path, env: Mapping[str, str]
    ) -> tuple[int, float]:
        """Start the worker's command line, detached from the terminal, its output appended to `log`.

        Returns the process id on this host and its start time (seconds since the epoch). OSError when it cannot be
        started.
        """


CARRIED = ("lora", "qlora", "full")
"""The methods whose gradients several processes add up; their steps are tested against those of one process."""
SHARDED = ("lora", "full")
"""Those that can be trained on a sharded model."""


def check_several(config: LaunchedConfig, name: str) -> None:
    """BadInput for what several processes do not train together, before anything starts."""
    if config.objective != "sft":
        raise BadInput(
            f"The launcher {name} trains towards sft only: several processes do not share the {config.objective} loss.",
            where="launcher",
            todo="Take the launcher local.",
        )
    if config.method not in (*CARRIED, "auto"):
        raise BadInput(
            f"The launcher {name} does not train the method {config.method}.",
            where="launcher",
            todo=f"Take the launcher local, or one of the methods {', '.join(CARRIED)}.",
        )
    if config.shard:
        _check_sharded(config)


def _check_sharded(config: LaunchedConfig) -> None:
    if config.processes < 2:
        raise BadInput(
            "A model is sharded over several processes, and this run has one.",
            where="processes",
            todo="Give at least 2 processes, or do not shard the model.",
        )
    if config.method not in (*SHARDED, "auto"):
        raise BadInput(
            f"The method {config.method} does not train on a sharded model: its 4-bit weights cannot be divided.",
            where="shard",
            todo=f"Take one of the methods {', '.join(SHARDED)}, or do not shard the model.",
        )
    if config.optimizer != "adamw":
        raise BadInput(
            f"The optimizer {config.optimizer} does not train a sharded model.",
            where="optimizer",
            todo="Take adamw: its state is sharded, too.",
        )
    if config.lr_trial:
        raise BadInput(
            "A rate trial needs the whole model in one process, and this run shards it.",
            where="lr_trial",
            todo="Give a learning rate without a trial, or do not shard the model.",
        )


def limits_here(config: LaunchedConfig, cores: int, cards: int) -> list[str]:
    """What a machine makes of so many processes on it: each needs a graphics card of its own, or shares the cores."""
    many = config.processes
    if 0 < cards < many:
        raise Unsupported(
            f"{many} processes need {many} graphics cards, one each, and this machine has {cards}.",
            where="processes",
            todo=f"Take {cards} at most.",
        )
    if not cards and many > cores:
        return [f"{many} processes share {cores} CPU cores: with more processes than cores a run becomes slower."]
    return []
