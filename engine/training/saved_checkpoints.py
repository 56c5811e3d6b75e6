"""The states that a run saved, for lists: what was measured at each, whether its files are whole, which is the result.
Makes one the result and removes one; loads no weights. Writing and resuming checkpoints is the worker's."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.models import refs, saved_files
from engine.models.refs import Ref, SavedState
from engine.training import watched_probes
from engine.training.run_control import reap
from engine.training.stop_rules import PROBE_METRIC
from store import runs
from store.canon import new_uid
from store.db import Store
from store.errors import BadInput, Conflict, NotFound
from store.records import Run

END = "end"
"""The folder beside the checkpoints with the state from which a finished run is given more steps."""


@dataclass(frozen=True, slots=True)
class ListedCheckpoint:
    """A state that a run saved. `finished` is the adapter that training left at its end, with the weights of `step`;
    the others are checkpoints.

    `ref` addresses its weights, None for a finished adapter that is not the run's result. `bytes` is its size on disk,
    `saved_at` UTC milliseconds. The numbers are those measured at its step and None where none was measured there:
    `probes` are shares by set, `drift` nats per token. `best` has the lowest validation loss of the run's saved states,
    `latest` is the newest checkpoint, `result` what the run's name stands for. `damage` says what is wrong with its
    files.
    """

    ref: str | None
    step: int
    finished: bool
    folder: Path
    bytes: int
    saved_at: int | None
    loss: float | None
    val_loss: float | None
    probes: Mapping[str, float]
    drift: float | None
    best: bool
    latest: bool
    result: bool
    damage: str | None

    @property
    def marks(self) -> tuple[str, ...]:
        """Why it is kept, in words: result, best, latest."""
        named = (("result", self.result), ("best", self.best), ("latest", self.latest))
        return tuple(word for word, true in named if true)


@dataclass(frozen=True, slots=True)
class RunCheckpoints:
    """The saved states of a run, newest first, the finished adapter before all. `verified` says whether the files were
    read, or only their sizes looked at; `end_bytes` is the size of the state that is kept for more steps."""

    run: Run
    states: tuple[ListedCheckpoint, ...]
    verified: bool
    end_bytes: int

    @property
    def result(self) -> ListedCheckpoint | None:
        """What the run's name stands for."""
        return next((each for each in self.states if each.result), None)

    @property
    def checkpoints(self) -> tuple[ListedCheckpoint, ...]:
        """The states without the finished adapter."""
        return tuple(each for each in self.states if not each.finished)

    @property
    def bytes(self) -> int:
        """The size of all of them."""
        return sum(each.bytes for each in self.states) + self.end_bytes


def listed(store: Store, name: str, *, verify: bool = True) -> RunCheckpoints:
    """The saved states of a run. With `verify` every file is read and compared with its hash; what did not change since
    is not read again. Without, only missing files and wrong sizes are seen. NotFound for an unknown run."""
    run = runs.get(store, name)
    kept = {each.step: each for each in runs.checkpoints(store, run.id)}
    states = refs.saved_states(store, run)
    steps = {id(state): _step_of(state, run) for state in states}
    measured = runs.measured_at(store, run.id, sorted(set(steps.values())))
    sets = {key.removeprefix(PROBE_METRIC) for at in measured.values() for key in at if key.startswith(PROBE_METRIC)}
    asked = watched_probes.in_order(run.config.get("watch"), sets)
    losses: dict[int, float | None] = {}
    for state in states:
        own = kept[state.step].val_loss if state.step in kept else None
        losses[id(state)] = own if own is not None else measured[steps[id(state)]].get("val_loss")
    damage = {id(state): _damage(state, verify) for state in states}
    result = next((state for state in states if _weights_damage(state, verify) is None), None)
    known = [(loss, -steps[key], key) for key, loss in losses.items() if loss is not None]
    best = min(known)[2] if known else None
    found = []
    for state in sorted(states, key=lambda state: (state.step is not None, -steps[id(state)])):
        numbers, step = measured[steps[id(state)]], steps[id(state)]
        found.append(
            ListedCheckpoint(
                ref=_ref(run, state, state is result),
                step=step,
                finished=state.step is None,
                folder=state.folder,
                bytes=_size(state.folder),
                saved_at=run.ended_at if state.step is None else kept[state.step].created_at,
                loss=numbers.get("loss"),
                val_loss=losses[id(state)],
                probes={name: numbers[PROBE_METRIC + name] for name in asked if PROBE_METRIC + name in numbers},
                drift=numbers.get("drift"),
                best=id(state) == best,
                latest=state.step is not None and state.step == max(kept),
                result=state is result,
                damage=damage[id(state)],
            )
        )
    end = store.home.run_dir(run.uid) / "checkpoints" / END
    return RunCheckpoints(run, tuple(found), verify, _size(end))


def make_result(store: Store, name: str, step: int | None) -> Run:
    """Let the run's name stand for its checkpoint at `step`, in chat, evaluations and exports; None for what training
    kept: the finished adapter, else the newest checkpoint.

    Conflict while the run has not ended, NotFound when there is no such checkpoint, BadInput when a file of it is not
    what was saved.
    """
    reap(store)
    run = runs.require_ended(store, name)
    if step is not None and (wrong := _damage(_state(store, run, step), True)):
        raise BadInput(
            f"The checkpoint at step {step} is damaged: {wrong}.",
            where=f"run {name}",
            todo=f"A result must be whole. Choose another: tuningfork runs checkpoints {name}",
        )
    with store.write():
        changed = runs.set_result(store, name, step)
        if run.result_step != step:
            said = f"Step {step} is the run's result." if step is not None else "The result is what training kept."
            runs.note(store, run.id, said)
    return changed


def check_removable(store: Store, name: str, step: int) -> ListedCheckpoint:
    """The checkpoint at `step`, if it may be removed. NotFound when there is none; Conflict when the run has not ended
    or when it is the run's result."""
    reap(store)
    run = runs.require_ended(store, name)
    _state(store, run, step)
    found = next(each for each in listed(store, name).checkpoints if each.step == step)
    if found.result:
        raise Conflict(
            f"The checkpoint at step {step} is the result of run {name}: without it, {Ref.run(name)} is another model.",
            todo=f"Make another one the result first: tuningfork runs result {name}@STEP",
        )
    return found


def remove(store: Store, name: str, step: int) -> int:
    """Delete a checkpoint of a run that has ended; returns how many bytes that frees. Raises what `check_removable`
    raises."""
    found = check_removable(store, name, step)
    with store.write():
        folder = runs.drop_checkpoint(store, name, step)
        runs.note(store, runs.get(store, name).id, f"Removed the checkpoint at step {step}.")
    if folder.is_dir():
        doomed = folder.with_name(f".deleted-{folder.name}-{new_uid()}")  # gone at once, even if deleting takes a while
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return found.bytes


def to_json(found: RunCheckpoints) -> dict[str, Any]:
    """The list as scripts see it; paths are absolute."""

    def plain(each: ListedCheckpoint) -> dict[str, Any]:
        return {
            "step": each.step, "ref": each.ref, "path": str(each.folder), "bytes": each.bytes,
            "saved_at": each.saved_at, "loss": each.loss, "val_loss": each.val_loss, "probes": dict(each.probes),
            "drift": each.drift, "best": each.best, "latest": each.latest, "result": each.result,
            "damage": each.damage,
        }  # fmt: skip

    finished = next((plain(each) for each in found.states if each.finished), None)
    return {
        "run": found.run.name,
        "result": result_json(found),
        "finished": finished,
        "checkpoints": [plain(each) for each in found.checkpoints],
        "bytes": found.bytes,
    }


def result_json(found: RunCheckpoints) -> dict[str, Any]:
    """What the run's name stands for: its step, whether that is the finished adapter, and whether you chose it. `step`
    is None when there is nothing that can be used."""
    result = found.result
    chosen = result is not None and not result.finished and found.run.result_step == result.step
    return {
        "step": result.step if result else None,
        "ref": result.ref if result else None,
        "finished": result.finished if result else False,
        "chosen": chosen,
    }


def _state(store: Store, run: Run, step: int) -> SavedState:
    states = {state.step: state for state in refs.saved_states(store, run)}
    if step not in states:
        have = ", ".join(str(at) for at in sorted(at for at in states if at is not None)) or "none"
        raise NotFound(f"Run {run.name} has no checkpoint at step {step}.", todo=f"Its checkpoints: {have}.")
    return states[step]


def _step_of(state: SavedState, run: Run) -> int:
    """The step that the weights are from: that of a finished adapter is in its manifest."""
    if state.step is not None:
        return state.step
    step = saved_files.manifest_of(state.folder).get("step")
    return step if isinstance(step, int) else run.step


def _ref(run: Run, state: SavedState, is_result: bool) -> str | None:
    if state.step is not None:
        return str(Ref.run(run.name, state.step))
    return str(Ref.run(run.name)) if is_result else None


def _damage(state: SavedState, verify: bool) -> str | None:
    return _weights_damage(state, verify) or saved_files.damage(state.folder, state.files, hashes=verify)


def _weights_damage(state: SavedState, verify: bool) -> str | None:
    if verify:
        return state.damage
    if not (state.folder / "adapter_config.json").is_file():
        return "adapter_config.json is missing"
    return saved_files.damage(state.folder, state.files, saved_files.ADAPTER, hashes=False)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder; 0 when it is gone, and what vanishes meanwhile is not counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).stat().st_size
    return total
