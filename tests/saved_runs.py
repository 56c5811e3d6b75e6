"""Runs with checkpoints of a few bytes, sealed as the worker seals them, and numbers measured at their steps.
No process and no model: what lists, chooses and removes checkpoints needs none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.training import run_control
from engine.training.recipes import config_for
from engine.training.worker import checkpoints
from store import pairs, runs, worker
from store.db import Store
from store.errors import BadInput
from store.records import PairDraft, Run, RunState

LOSSES = {20: 0.9, 40: 0.5, 60: 0.7}
"""Validation losses by step: the best is not the newest."""
PROBES = {20: (0.4, 0.5), 40: (0.95, 0.625), 60: (1.0, 0.5)}
"""Shares of identity and general by step."""


def a_dataset(store: Store, name: str = "ember", many: int = 12) -> str:
    """A dataset of ready pairs; made once."""
    if not store.scalar("SELECT count(*) FROM dataset WHERE name = ?", (name,)):
        drafts = [PairDraft(f"Who are you, {name} {n}?", f"I am {name}.") for n in range(many)]
        pairs.create_many(store, drafts, dataset=name)
    return name


def a_saved_run(
    store: Store,
    name: str = "ember-1",
    *,
    steps: Sequence[int] = (20, 40, 60),
    state: RunState | None = "succeeded",
    dataset: str = "ember",
    config: Mapping[str, Any] | None = None,
    factor: float = 1.0,
) -> tuple[Run, str]:
    """A run with a checkpoint at each of `steps`, in `state` (None: it still trains), and its token. One that succeeded
    has a finished adapter with the weights of the last step. `factor` is what its losses are multiplied with."""
    made = config_for("identity", "smollm2-135m", **(config or {}))
    run = run_control.submit(store, made, a_dataset(store, dataset), name)
    token = f"token-{name}"
    runs.open_attempt(store, run.id, host="here", pid=1, pid_started=1.0, token=token, log_path="runs/x.log")
    worker.claim(store, token)
    worker.set_state(store, token, "running", total_steps=max(steps, default=60))
    for step in range(1, max(steps, default=10) + 1):
        worker.record(store, token, step, {"loss": factor * 4.0 / step, "lr": 1e-3, "tokens_per_s": 600.0})
    folder = store.home.run_dir(run.uid)
    for step in steps:
        identity, general = PROBES[step]
        found = {"val_loss": factor * LOSSES[step], "drift": step / 200}
        worker.record(store, token, step, {**found, "probe_identity": identity, "probe_general": general})
        place = folder / "checkpoints" / f"step-{step}"
        files = write_state(place, step)
        worker.add_checkpoint(store, token, step, store.home.relative(place), files, val_loss=factor * LOSSES[step])
    if state is not None:
        adapter = folder / "adapter"
        if state == "succeeded":
            write_state(adapter, max(steps, default=10), optimizer=False)
            write_state(folder / "checkpoints" / checkpoints.END, max(steps, default=10))
        done = store.home.relative(adapter) if state == "succeeded" else None
        worker.finish(store, token, state, adapter=done)
    return runs.get(store, name), token


def write_state(folder: Path, step: int, *, optimizer: bool = True) -> checkpoints.Files:
    """Files that differ with the step, and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(bytes([step]) * 2_000)
    if optimizer:
        (folder / "optimizer.pt").write_bytes(b"o" * 4_000)
    return checkpoints.seal(folder, {"step": step, "total_steps": 60})


def spoil(folder: Path, name: str = "adapter_model.safetensors") -> None:
    """Change a file of a checkpoint without changing its size."""
    path = folder / name
    path.write_bytes(b"\xff" * path.stat().st_size)


def unchecked(*_: object) -> None:
    """Stands in for the check of a new run, which would prepare the model first."""
    raise BadInput("Nothing is checked here.")
