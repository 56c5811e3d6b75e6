"""What a run tells and hears at every step: metrics out, the user's wishes in, broken numbers stopped at once.
Decides when to save and when to stop; saving is the trainer's."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from engine.training.worker.contracts import Reporter
from store.errors import WorkerError


@dataclass
class Pulse:
    """Numbers of the step at work, filled by the trainer and read when the step is told."""

    tokens: int = 0
    started: float = 0.0


class RunCallback(TrainerCallback):
    """Reports each step; asks for a checkpoint every `save_every` steps (0 = never) and when a stop is wanted."""

    def __init__(self, reporter: Reporter, pulse: Pulse, save_every: int, total: int) -> None:
        self._reporter, self._pulse, self._save_every, self._total = reporter, pulse, save_every, total
        self.stopped = False

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._pulse.started = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if state.global_step >= self._total:
            return control
        if self._reporter.wanted() != "run":
            self.stopped = control.should_save = control.should_training_stop = True
        elif self._save_every and state.global_step % self._save_every == 0:
            control.should_save = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return  # the summary at the end
        seconds = time.monotonic() - self._pulse.started
        values = {
            "loss": float(logs["loss"]),
            "lr": float(logs["learning_rate"]),
            "grad_norm": float(logs.get("grad_norm", math.nan)),
            "tokens_per_s": self._pulse.tokens / seconds,
            "step_s": seconds,
        }
        refuse_broken(state.global_step, values["grad_norm"], "gradient")
        self._reporter.metrics(state.global_step, dict(values))


def refuse_broken(step: int, value: float, name: str) -> None:
    """WorkerError when a loss or gradient is no finite number: all that follows would be rubbish."""
    if not math.isfinite(value):
        raise WorkerError(
            f"The {name} became {value} at step {step}; training cannot go on from there.",
            where=f"step {step}",
            todo="Lower the learning rate, or look for broken rows; the last checkpoint is still good.",
        )
