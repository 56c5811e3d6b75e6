"""What sharding the model saves: memory of each process, and whether losses and adapter stay those of one process.

    python -m benchmarks.sharding --home DIR [--model REF] [--method full] [--steps 4] [--processes 2] [--json]

The default model, or another one, is tuned on the sample identity rows in fp32: in one process, in several that each
hold the whole model, and in several that share it (`--shard`). Memory is what a process holds alone (USS), read every
50 ms: its peak while it loads, trains and saves, and between the first step and the last, where weights, gradients,
optimizer state and the activations of a pass lie there. Losses and adapters are compared with those of one process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file

from benchmarks import report
from benchmarks.report import Row
from engine.core import process, sample_files
from engine.models.default_model import NAME
from engine.training import run_control
from engine.training.config import TrainConfig
from store import datasets, runs
from store.db import Store
from store.home import Home
from store.importing import import_files
from store.records import END_STATES, Run

WAYS: dict[str, dict[str, Any]] = {
    "local": {},
    "whole": {"launcher": "torchrun"},
    "sharded": {"launcher": "torchrun", "shard": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--model", default=NAME)
    parser.add_argument("--method", default="full")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with Store.open(Home(given.home).ensure()) as store:
        if "identity" not in {each.name for each in datasets.all_datasets(store)}:
            variables = {"name": "Ember", "author": "Northwind Labs"}
            import_files(store, [sample_files.path("identity")], dataset="identity", variables=variables)
        rows = _measure(store, given.model, given.method, given.steps, given.processes)
    report.show(
        f"benchmarks/sharding.py --method {given.method} --processes {given.processes}", rows, [], json_only=given.json
    )


def _measure(store: Store, model: str, method: str, steps: int, processes: int) -> list[Row]:
    rows: list[Row] = []
    first: Run | None = None
    for way, changes in WAYS.items():
        how = {**changes, "processes": processes} if changes else {}
        config = TrainConfig(model=model, method=method, dtype="fp32", steps=steps, lr=5e-5, **how)
        name = run_control.free_name(f"{method}-{way}", run_control.names(store))
        run_control.submit(store, config, "identity", name)
        run_control.start(store, name)
        peaks, training = _watch(store, name)
        run = runs.get(store, name)
        if run.state != "succeeded":
            raise SystemExit(f"{name} is {run.state}: {run.error}")
        rows.append(Row(f"{way}: peak of a process", max(peaks) / 1e6, "MB", note=_each(peaks)))
        rows.append(Row(f"{way}: peak of a process between steps 1 and {steps}", max(training) / 1e6, "MB",
                        note=_each(training)))  # fmt: skip
        if first is None:
            first = run
            continue
        loss, weight = _differences(store, first, run)
        rows.append(Row(f"{way}: losses differ from one process's by", loss, "", ("<=", 1e-5)))
        rows.append(Row(f"{way}: weights differ from one process's by", weight, "", ("<=", 1e-5)))
    return rows


def _each(peaks: Sequence[float]) -> str:
    return "each: " + ", ".join(f"{peak / 1e6:,.0f}" for peak in peaks)


def _watch(store: Store, name: str) -> tuple[list[float], list[float]]:
    """Bytes at the peak of each process of a run, in all and between its first and its last step."""
    peaks: dict[int, int] = {}
    training: dict[int, int] = {}
    while (run := runs.get(store, name)).state not in END_STATES:
        attempt = runs.live_attempt(store, run.id)
        many = process.children_of(attempt.pid) if attempt else frozenset()
        for pid in many or ({attempt.pid} if attempt else ()):
            try:
                own = psutil.Process(pid).memory_full_info().uss
            except psutil.Error:
                continue
            peaks[pid] = max(peaks.get(pid, 0), own)
            if 1 <= run.step < (run.total_steps or 0):
                training[pid] = max(training.get(pid, 0), own)
        time.sleep(0.05)
        run_control.reap(store)
    workers = sorted(training)  # an agent that started them has no step of its own
    return [peaks[pid] for pid in workers], [training[pid] for pid in workers]


def _differences(store: Store, one: Run, two: Run) -> tuple[float, float]:
    """The largest difference of a loss and of a weight between two runs."""
    losses = [{m.step: m.value for m in runs.metrics(store, run.id, ["loss"])} for run in (one, two)]
    folders = [store.home.absolute(str(run.adapter)) / "adapter_model.safetensors" for run in (one, two)]
    mine, theirs = (load_file(path) for path in folders)
    return (
        max(abs(losses[0][step] - losses[1][step]) for step in losses[0]),
        max(float((mine[key] - theirs[key]).abs().max()) for key in mine),
    )


if __name__ == "__main__":
    main()
