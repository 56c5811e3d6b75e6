"""Corrects the estimate of a run by what earlier runs on this machine took, as their last messages keep it.
Reads the store; no torch. What a run writes there at its end is made here, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from engine.training.config import TrainConfig
from engine.training.estimate import Estimate, Machine
from store import runs
from store.db import Store

COST = "cost"
"""In an event's body: what a run was estimated to take, and took; see `RunCost`."""
RUNS = 8
"""Earlier runs that count, the latest ones."""
_LEAST_S = 2.0  # of training: what took less says nothing
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class RunCost:
    """A run's estimate before it began, and what became of it: seconds until it was ready to train, seconds of work
    from then on (for all of its steps, also when it ended early), and peak memory in bytes. `where` is `place_of`'s."""

    where: str
    model: str
    method: str
    estimated_start_s: float
    estimated_work_s: float
    estimated_bytes: int
    start_s: float
    work_s: float
    bytes: int

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> RunCost | None:
        """From an event's body; None when it holds none."""
        try:
            return cls(**body[COST])
        except (KeyError, TypeError):
            return None


def place_of(machine: Machine) -> str:
    """The machine that a run computes on, as far as its speed is concerned."""
    if machine.gpus:
        return f"cuda {machine.gpus[0].name}"
    return f"cpu {machine.cores} {'bf16' if machine.fast_bf16 else 'fp32'}"


def earlier(store: Store, machine: Machine) -> list[RunCost]:
    """The outcomes of the latest runs on this machine, the latest first."""
    found: list[RunCost] = []
    for run in sorted(runs.all_runs(store), key=lambda run: -(run.ended_at or 0)):
        last = [made for event in runs.events(store, run.id, limit=_ALL) if (made := RunCost.read(event.body))]
        found += [made for made in last[-1:] if made.where == place_of(machine) and made.work_s >= _LEAST_S]
        if len(found) >= RUNS:
            break
    return found


def calibrated(store: Store, guess: Estimate, config: TrainConfig, machine: Machine) -> Estimate:
    """The estimate times what earlier runs took of theirs: the median over those of the same model and method, else of
    the same model, else of all. As it is when there are none."""
    known = earlier(store, machine)
    for same in (
        [each for each in known if (each.model, each.method) == (config.model, config.method)],
        [each for each in known if each.model == config.model],
        known,
    ):
        if same:
            start = median(each.start_s / each.estimated_start_s for each in same)
            work = median(each.work_s / each.estimated_work_s for each in same)
            memory = median(each.bytes / each.estimated_bytes for each in same)
            start_s = guess.start_s * start
            many = f"{len(same)} earlier run{'s' if len(same) > 1 else ''} on this machine"
            return replace(
                guess,
                seconds=start_s + (guess.seconds - guess.start_s) * work,
                start_s=start_s,
                measuring_s=guess.measuring_s * work,
                memory_bytes=int(guess.memory_bytes * memory),
                note=" ".join(filter(None, (guess.note, f"Corrected by {many}."))),
            )
    return guess
