"""The trainers of the objectives of engine.training.objectives. To add one, write its file with a function `train` and
add its name to _NAMES; TRL, which takes seconds to import, is loaded by those that use it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from engine.training.worker.contracts import Outcome, TrainingJob


def _of(name: str) -> Callable[[TrainingJob], Outcome]:
    def train(job: TrainingJob) -> Outcome:
        outcome: Outcome = import_module(f"{__name__}.{name}").train(job)
        return outcome

    return train


_NAMES = ("sft", "dpo", "kto", "reward", "grpo", "rloo")
TRAINERS: dict[str, Callable[[TrainingJob], Outcome]] = {name: _of(name) for name in _NAMES}
"""By the names of engine.training.objectives.OBJECTIVES: takes a job from its rows to its adapter folder."""
