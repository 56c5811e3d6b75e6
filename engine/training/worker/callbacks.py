"""What happens between the steps of a run, on any trainer of transformers or TRL: numbers are reported, requests to
stop are followed, checkpoints are kept, and a loss or gradient that is not finite ends the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from engine.training.worker import adapter_files, checkpoints
from engine.training.worker.contracts import Diverged, TrainingJob
from engine.training.worker.pace import Pace
from engine.training.worker.watching import Watcher


@dataclass
class StepNumbers:
    """Numbers of the current step: the trainer counts its `tokens`, `started` is a monotonic time in seconds."""

    tokens: int = 0
    started: float = 0.0


class RunCallback(TrainerCallback):
    """Reports each step; saves every `save_every` steps (0 = never) and when a stop is wanted.

    `validate` computes and reports the validation loss at a step, None when there is nothing to validate on; it is
    called for every checkpoint. The `watcher` measures that and more where it is due, and may end the run. `logged`
    names what else the trainer logs of a step and the run keeps: name in the log -> name in the store. A `pace` hears
    of every step.
    """

    def __init__(
        self,
        job: TrainingJob,
        numbers: StepNumbers,
        total: int,
        validate: Callable[[int], float | None],
        watcher: Watcher,
        logged: Mapping[str, str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._logged, self._pace = logged or {}, pace
        self.job = self._job = job
        self._numbers, self._total, self._validate = numbers, total, validate
        self._watcher = watcher
        self.stopped = False

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._numbers.started, self._numbers.tokens = time.monotonic(), 0

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if state.global_step >= self._total:
            return control
        save_every = self._job.config.save_every
        if self._job.ranks.from_first(self._job.reporter.wanted) != "run":
            self.stopped = control.should_save = control.should_training_stop = True
        elif save_every and state.global_step % save_every == 0:
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
        step, seconds = state.global_step, time.monotonic() - self._numbers.started
        values = {
            "loss": float(logs["loss"]),
            "lr": float(logs["learning_rate"]),
            "grad_norm": float(logs.get("grad_norm", math.nan)),
            "tokens_per_s": self._numbers.tokens / seconds,
            "step_s": seconds,
            **{name: float(logs[theirs]) for theirs, name in self._logged.items() if logs.get(theirs) is not None},
        }
        refuse_broken(step, values["grad_norm"], "gradient")
        self._job.reporter.metrics(step, dict(values))
        began, due = time.monotonic(), self._watcher.due(step)
        reason = self._watcher.measure(step) if due else ""
        if due:
            reason = self._job.ranks.from_first(lambda: reason)
        if reason and step < self._total:
            self._job.reporter.say(f"{reason} The run ends at step {step}.", step=step)
            control.should_training_stop = True
        if self._pace is not None:
            if due:
                self._pace.measured(time.monotonic() - began)
            self._pace.step(step, self._total, sum(map(self._watcher.due, range(step + 1, self._total + 1))))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """What the trainer saved becomes checkpoints/step-N when all of it is on the disk and hashed."""
        step, folder = state.global_step, self._job.out / "checkpoints"
        val_loss = self._validate(step)
        if not self._job.ranks.first:
            return
        made, final = Path(str(args.output_dir)) / f"checkpoint-{step}", folder / f"step-{step}"
        files = adapter_files.seal(made, self._job, step, self._total, val_loss)
        checkpoints.place(made, final)
        self._job.reporter.checkpoint(step, final, files, val_loss)
        self._job.reporter.say(f"Saved a checkpoint at step {step}", step=step)
        for deleted in checkpoints.prune(folder, self._job.config.keep_checkpoints):
            self._job.reporter.pruned(deleted)


def refuse_broken(step: int, value: float, name: str) -> None:
    """Diverged when a loss or gradient is no finite number: no later step could repair the weights."""
    if not math.isfinite(value):
        raise Diverged(
            f"The {name} became {value} at step {step}; training cannot continue from there.",
            where=f"step {step}",
            todo="Lower the learning rate, or look for broken rows; the last checkpoint is still good.",
        )
