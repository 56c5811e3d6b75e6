"""Runs the training core in this process on the tiny model, with a Reporter that keeps what it is told."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.training.config import TrainConfig
from engine.training.worker import trainer
from engine.training.worker.contracts import Outcome, TrainingJob
from store.home import Home
from store.records import SnapshotRow, Wanted


@dataclass
class Recorder:
    """A Reporter. With `stop_after`, a stop is wanted from the end of that step on: it is asked once a step."""

    stop_after: int | None = None
    numbers: dict[str, dict[int, float | None]] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    gone: list[Path] = field(default_factory=list)
    steps: int = 0
    asked: int = 0
    env: dict[str, Any] = field(default_factory=dict)

    def total(self, steps: int, env: dict[str, Any]) -> None:
        self.steps, self.env = steps, env

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        for name, value in values.items():
            self.numbers.setdefault(name, {})[step] = value

    def say(self, text: str, *, level: str = "info", **body: Any) -> None:
        self.said.append((level, text))

    def checkpoint(self, step: int, path: Path, manifest: dict[str, Any], val_loss: float | None) -> None:
        assert (path / "manifest.json").is_file() and manifest
        self.saved.append(step)

    def pruned(self, path: Path) -> None:
        self.gone.append(path)

    def wanted(self) -> Wanted:
        self.asked += 1
        return "stop" if self.asked == self.stop_after else "run"


def train(
    config: TrainConfig,
    rows: Sequence[SnapshotRow],
    base: Path,
    out: Path,
    *,
    resume_from: Path | None = None,
    stop_after: int | None = None,
    start: Path | None = None,
    scorer_base: Path | None = None,
    home: Home | None = None,
    recorder: Recorder | None = None,
) -> tuple[Outcome, Recorder]:
    """One attempt, for real; what it came to and what it reported."""
    out.mkdir(parents=True, exist_ok=True)
    recorder = recorder or Recorder(stop_after)
    job = TrainingJob(config, list(rows), base, out, resume_from, recorder, None, start, scorer_base, home=home)
    return trainer.run(job), recorder


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
