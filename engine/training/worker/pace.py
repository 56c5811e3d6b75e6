"""How long a run takes and how much memory: what was estimated, what it knows after the warm-up, what it took.
Counts seconds and bytes, and says them in the run's log; nothing here trains."""

from __future__ import annotations

import resource
import time
from dataclasses import asdict
from typing import Any

import psutil
import torch

from engine.training.calibration import COST, RunCost, place_of
from engine.training.config import TrainConfig
from engine.training.estimate import Estimate, machine
from engine.training.worker.contracts import TrainingJob

LEAST_STEPS = 3
"""Steps after which a run knows its pace, where the warm-up is shorter."""
_SAVING_S = 2.0


class Pace:
    """Follows one attempt: `ready` when the model can train, `step` after each step, `end` when all is saved.

    What is said of the estimate is what was shown before the run, corrected by earlier ones; what is kept for later
    runs is the plain one, else they would correct a correction.
    """

    def __init__(self, job: TrainingJob, guess: Estimate) -> None:
        self._job, self._guess, self._corrected = job, guess, job.corrected(guess)
        self._began = psutil.Process().create_time()
        self._ready = self._first = time.time()
        self._steps = 0
        self._measured: list[float] = []
        self._beside = 0.0
        self._later: float | None = None

    def ready(self) -> None:
        """The model is loaded and tried out; what comes now is the run's work."""
        self._ready = time.time()

    def measured(self, seconds: float) -> None:
        """A measurement between two steps took so long."""
        self._measured.append(seconds)
        self._beside += seconds

    def step(self, number: int, total: int, measurements_left: int) -> None:
        """After step `number` of `total`. Says at the end of the warm-up how long the run will take in all."""
        now = time.time()
        self._steps += 1
        if self._steps == 1:
            self._first, self._beside = now, 0.0  # the first step is slower than the others
        after = max(LEAST_STEPS, round(self._job.config.warmup * total))
        if self._steps != after or total <= number:
            return
        each = (now - self._first - self._beside) / (self._steps - 1)
        if self._measured:
            beside = sum(self._measured) / len(self._measured)
        else:  # as it was estimated, by how much longer or shorter a step is than was estimated
            guess = self._corrected
            steps_s = guess.seconds - guess.start_s - guess.measuring_s
            slower = each / max(1e-9, steps_s / guess.steps)
            beside = guess.measuring_s * slower / max(1, measurements_left)
        left = (total - number) * each + measurements_left * beside + _SAVING_S
        self._later = now - self._began + left
        self._job.reporter.say(
            f"After {number} steps: about {_duration(left)} left, {_duration(self._later)} in all;"
            f" {peak_bytes() / 1e9:.1f} GB of memory",
            step=number,
            bytes=peak_bytes(),
            seconds_left=round(left, 1),
            seconds=round(self._later, 1),
        )

    def end(self, step: int, total: int) -> None:
        """Say what the run took beside its estimates, and keep it for those to come."""
        now, shown, config = time.time(), self._corrected, self._job.config
        took, peak = now - self._began, peak_bytes()
        later = f", {_duration(self._later)} after its warm-up" if self._later else ""
        text = (
            f"Estimated before: {_duration(shown.seconds)} and {shown.memory_bytes / 1e9:.1f} GB{later}. "
            f"It took {_duration(took)} and {peak / 1e9:.1f} GB"
        )
        if step < total:
            text += f" for {step} of {total} steps"
        body: dict[str, Any] = {}
        if self._job.resume_from is None and step and self._job.ranks.world == 1:  # else it is known of one process
            work = (now - self._ready) * total / step
            body = {COST: asdict(cost_of(config, self._guess, self._ready - self._began, work, peak))}
        self._job.reporter.say(text + ".", seconds=round(took, 1), bytes=peak, **body)


def cost_of(config: TrainConfig, guess: Estimate, start_s: float, work_s: float, bytes: int) -> RunCost:
    """What calibration reads of a run."""
    planned = guess.seconds - guess.start_s
    where, memory = place_of(machine()), guess.memory_bytes
    return RunCost(where, config.model, config.method, guess.start_s, planned, memory, start_s, work_s, bytes)


def peak_bytes() -> int:
    """The most memory that this process has had: of the card where it has one, else of the machine."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} minutes"
