"""The trainers of the objectives of engine.training.objectives. To add one, write its file and add it to TRAINERS."""

from __future__ import annotations

from collections.abc import Callable

from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.objectives import sft

TRAINERS: dict[str, Callable[[TrainingJob], Outcome]] = {"sft": sft.train}
"""By the names of engine.training.objectives.OBJECTIVES: takes a job from its rows to its adapter folder."""
