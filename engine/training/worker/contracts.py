"""What passes between the job runner and training: a TrainingJob and its Reporter go in, an Outcome comes out.
Cheap to import: no torch, no database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.training.config import TrainConfig
from engine.training.estimate import Estimate
from engine.training.worker.ranks import ALONE, Ranks
from store.errors import WorkerError
from store.home import Home
from store.records import SnapshotRow, Wanted


class Diverged(WorkerError):
    """A loss or gradient is no finite number. A run is deterministic, so trying again would end in the same way."""


class Reporter(Protocol):
    """Takes what a run reports. Called from the training thread only."""

    def total(self, steps: int, env: dict[str, Any]) -> None:
        """The run will take `steps` optimizer steps in all; `env` describes the machine and the libraries."""

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        """Numbers after optimizer step `step`: loss, lr, grad_norm, tokens_per_s, step_s; val_loss comes by itself."""

    def say(self, text: str, *, level: str = "info", **body: Any) -> None:
        """Add an event to the run's log."""

    def checkpoint(self, step: int, path: Path, manifest: dict[str, Any], val_loss: float | None) -> None:
        """A complete checkpoint was saved at `path` (absolute). `manifest` maps file name to {"sha256", "bytes"}."""

    def pruned(self, path: Path) -> None:
        """The checkpoint at `path` was deleted: it was neither among the latest nor the best."""

    def wanted(self) -> Wanted:
        """What the user wants of this run: run, stop (after saving a checkpoint) or kill (at once). Asked each step."""


@dataclass(frozen=True)
class TrainingJob:
    """One attempt at a run. `base_folder` holds safetensors, config and tokenizer; `out` is the run's folder, where
    `adapter/` and `checkpoints/step-N/` are made; `resume_from` a checkpoint folder of the same run; `models` the
    home's folder of prepared models, None to keep what is made of the base in `out`; `start` the folder of the adapter
    that the run continues; `scorer_base` the base folder of the reward model that rewards its answers; `ranks` this
    process's place among those of the run; `home` where the chat server is asked that a run's judge answers over;
    `corrected` an estimate as earlier runs on this machine correct it."""

    config: TrainConfig
    rows: list[SnapshotRow]
    base_folder: Path
    out: Path
    resume_from: Path | None
    reporter: Reporter
    models: Path | None = None
    start: Path | None = None
    scorer_base: Path | None = None
    ranks: Ranks = ALONE
    home: Home | None = None
    corrected: Callable[[Estimate], Estimate] = lambda guess: guess


@dataclass(frozen=True)
class Outcome:
    """How the attempt ended. `adapter` is the adapter folder: of the end, or of the last checkpoint when stopped."""

    adapter: Path
    state: Literal["succeeded", "stopped"]
    step: int
