"""What a run does by itself when memory or the disk runs out, or a loss is no number: go smaller, wait, go back.
Files and decisions; the trainer that calls this owns the model."""

from __future__ import annotations

import gc
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.core.files import is_disk_full, read_json, write_json
from engine.models.chat_template import Example
from engine.models.saved_files import manifest_of
from engine.training.worker import checkpoints
from engine.training.worker.contracts import Diverged, TrainingJob
from engine.training.worker.methods import ADAPTERS
from engine.training.worker.packing import Pack
from store.errors import TuningforkError

_MEMORY, _RATE = "memory.json", "halved.json"
SLOWER = 0.5
"""What a run's rate is multiplied by when it goes back."""
POLL_S = 5.0
"""Seconds between two tries to write a checkpoint when the disk is full."""


class Passes:
    """Packs rows into passes of at most `tokens` tokens; `smaller` halves that for the rest of the run."""

    def __init__(self, pack: Callable[[Sequence[Example], int], list[Pack]], tokens: int) -> None:
        self._pack, self.tokens, self._halved = pack, tokens, False

    def __call__(self, rows: Sequence[Example]) -> list[Pack]:
        return self._pack(rows, self.tokens)

    def spread(self, rows: Sequence[Example], over: int) -> list[Pack]:
        """As `__call__`, in smaller passes where there would be fewer than `over`, as long as there are rows."""
        packs = self(rows)
        while len(packs) < min(over, len(rows)) and (most := max(pack.computed for pack in packs) - 1) > 0:
            packs = self._pack(rows, min(most, self.tokens))
        return packs

    def remember(self, job: TrainingJob, model: Any) -> None:
        """Take what an earlier attempt of the run was down to."""
        if tokens := job.ranks.from_first(lambda: read_json(job.out / _MEMORY, optional=True).get("tokens")):
            self.tokens, self._halved = int(tokens), True
            save_memory(job, model)

    def smaller(self, job: TrainingJob, model: Any, rows: Sequence[Example], step: int) -> bool:
        """Halve the passes, and have activations computed twice instead of kept, after memory ran out in a step on
        `rows`; the run's folder remembers it. False when passes cannot be smaller: each row is one by itself."""
        before, longest = self(rows), max(len(row.ids) for row in rows)
        if self._halved and self.tokens < longest:
            return False
        self.tokens, self._halved = max(1, self.tokens // 2), True
        while self.tokens >= longest and len(self(rows)) == len(before):
            self.tokens //= 2  # a step that takes less than a pass would not become smaller
        save_memory(job, model)
        if job.ranks.first:
            write_json(job.out / _MEMORY, {"tokens": self.tokens})
        job.reporter.say(
            f"Memory ran out at step {step}. The run continues with passes of at most {self.tokens} tokens "
            f"({len(self(rows))} a step instead of {len(before)}), and computes activations twice instead of keeping"
            " them. That is slower; the gradients stay the same.",
            level="warning",
            step=step,
        )
        return True


def save_memory(job: TrainingJob, model: Any) -> None:
    """Compute activations twice instead of keeping them, where the method allows it, and give back what memory can be
    given back."""
    if ADAPTERS[job.config.method].checkpointing and not model.is_gradient_checkpointing:
        model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()  # else no gradient would reach an adapter through the frozen base
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def rate_factor(job: TrainingJob) -> float:
    """What the rate is multiplied by: less than 1 for a run that continues where it once went back to, or later."""
    step = int(manifest_of(job.resume_from).get("step", 0)) if job.resume_from else 0
    halved = job.ranks.from_first(lambda: read_json(job.out / _RATE, optional=True).get("from", step + 1))
    return SLOWER if halved <= step else 1.0


def go_back(job: TrainingJob, error: Diverged) -> TrainingJob:
    """The job that continues from the last good state at half the rate. Raises `error` when that was done before."""
    if job.ranks.from_first((job.out / _RATE).is_file):
        raise error
    saved = job.ranks.from_first(lambda: checkpoints.saved(job.out / "checkpoints"))
    step, folder = saved[-1] if saved else (0, None)
    if job.ranks.first:
        write_json(job.out / _RATE, {"from": step, "why": error.what})
    where = f"step {step}, its last checkpoint," if saved else "the beginning, as it has no checkpoint,"
    job.reporter.say(
        f"{error.what} The run goes back to {where} and continues once at half the learning rate.", level="warning"
    )
    return replace(job, resume_from=folder)


def begin(job: TrainingJob) -> None:
    """Forget what earlier attempts of a run met that begins at its first step."""
    if job.resume_from is None and job.ranks.first:
        for name in (_MEMORY, _RATE):
            (job.out / name).unlink(missing_ok=True)


def write_patiently(job: TrainingJob, place: Path, write: Callable[[], None]) -> None:
    """Do a write that may find the disk full: then the run pauses until there is space, with its state in memory.

    `place` is removed before each try. When a stop is wanted meanwhile, the error of the last try is raised.
    """
    told = False
    while True:
        try:
            write()
        except (OSError, RuntimeError, TuningforkError) as error:
            if not is_disk_full(error):
                raise
            shutil.rmtree(place, ignore_errors=True)
            if not told:
                told = _tell(job, "The disk is full. The run pauses until there is space for its checkpoint.")
            if job.reporter.wanted() != "run":
                raise
            time.sleep(POLL_S)
        else:
            break
    if told:
        _tell(job, "There is space again: the checkpoint is written, and the run continues.")


def _tell(job: TrainingJob, text: str) -> bool:
    try:
        job.reporter.say(text, level="warning")
    except TuningforkError as error:  # the store lies on the same disk; the log's file may still take it
        print(f"{text} ({error.what})", file=sys.stderr, flush=True)
    return True
