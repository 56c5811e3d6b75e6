"""A toy training method, objective and launcher: what one entry of each registry needs, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engine.core import process
from engine.models.chat_template import ChatTemplate
from engine.training.launchers import LAUNCHERS
from engine.training.launchers.base import LaunchedConfig
from engine.training.methods import METHODS, MethodConfig, TrainingMethod
from engine.training.objectives import OBJECTIVES, Objective
from engine.training.preflight import Preflight, RowLimits, check
from store.errors import BadInput
from store.records import SnapshotRow


def _check(config: MethodConfig) -> None:
    if config.dtype == "bf16":
        raise BadInput("Toys do not train in 16 bits.", where="dtype")


def _preflight(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Preflight:
    found = check(rows, template, config)
    return replace(found, notes=[*found.notes, "These rows were checked by a toy."])


METHOD = TrainingMethod(
    name="toy",
    title="Toy method",
    summary="Trains nothing.",
    fields=frozenset(),
    check=_check,
    exports=lambda config: ("adapter",),
    memory=lambda config, facts, device, available: 123e9,
)
OBJECTIVE = Objective(
    name="toy",
    title="Play",
    summary="Play.",
    needs="pairs",
    preflight=_preflight,
    metrics={"loss": "toy loss"},
)


class ToyLauncher:
    """Starts what the local launcher starts, and writes down that it did."""

    name = "toy"
    summary = "One process, written down."

    def check(self, config: LaunchedConfig) -> None:
        """It starts whatever it is given."""

    def limits(self, config: LaunchedConfig, *, cores: int, cards: int) -> list[str]:
        return []

    def start(
        self, argv: Sequence[str], *, processes: int, log: Path, cwd: Path, env: Mapping[str, str]
    ) -> tuple[int, float]:
        (cwd / "launched.txt").write_text(" ".join(argv))
        return process.spawn(argv, log=log, cwd=cwd, env=env)


def register() -> None:
    """One line for each registry."""
    METHODS["toy"] = METHOD
    OBJECTIVES["toy"] = OBJECTIVE
    LAUNCHERS["toy"] = ToyLauncher()


def unregister() -> None:
    """Leave the registries as they were."""
    for registry in (METHODS, OBJECTIVES, LAUNCHERS):
        registry.pop("toy", None)
