"""Runs in two real processes over gloo, which each hold the model or share it: the losses and the adapter of one
process, also across a stop, a resume and another launcher; and what happens when one of the processes dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from engine.core import process
from engine.models.chat_template import MASKED, Example
from engine.models.saved_files import manifest_of
from engine.training import run_control
from engine.training.config import TrainConfig
from engine.training.worker import packing, ranks
from engine.training.worker.recovery import Passes
from store import datasets, pairs, runs
from store.db import Store
from store.records import Attempt, PairDraft, Run
from tests.e2e import held_worker
from tests.engine.test_jobs import until
from tests.holding import AT, release
from tests.tiny import make_tiny_llama
from tests.torch.recording import Recorder, train

WHO = [PairDraft(f"Who made {what}?", f"{who} made {what}{' indeed' * (n % 3)}.")
       for what in ("tea", "boats", "lamps", "hats") for n, who in enumerate(("Mara", "Ivo", "Ann", "Bo"))]  # fmt: skip
SETTINGS: dict[str, Any] = {
    "method": "lora", "dtype": "fp32", "steps": 8, "batch_size": 8, "lr": 1e-3, "rank": 4, "threads": 2,
    "save_every": 4,
}  # fmt: skip
TWO: dict[str, Any] = {"launcher": "torchrun", "processes": 2}
SHARED = {**TWO, "shard": True}
CLOSE = 1e-5
"""How far sums in another order may take losses and weights of these runs."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def who(store: Store) -> Iterator[Store]:
    """The store with a dataset; what still runs at the end is killed."""
    datasets.create(store, "who")
    pairs.create_many(store, WHO[:12], dataset="who")
    pairs.create_many(store, WHO[12:], dataset="who", split="val")
    yield store
    for attempt in runs.live_attempts(store):
        process.kill_group(attempt.pid, attempt.pid_started)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs wait for the test after step 5; a stop meanwhile is followed at the end of the next step."""
    monkeypatch.setattr(process, "command", held_worker.argv)
    monkeypatch.setenv(AT, "5")


def submit(store: Store, base: Path, **changes: Any) -> Run:
    config = TrainConfig(model=str(base)).replace(**SETTINGS | changes)
    return run_control.submit(store, config, "who", "r")


def alone(store: Store, run: Run, base: Path, out: Path, **options: Any) -> tuple[Path, Recorder]:
    """The same run in this process: its adapter and what it told."""
    config = TrainConfig.from_json(run.config).replace(launcher="local", processes=1, shard=False)
    outcome, told = train(config, datasets.snapshot_rows(store, run.snapshot), base, out, **options)
    return outcome.adapter, told


def begin_alone(store: Store, run: Run, base: Path, out: Path, steps: int) -> None:
    """Make so many steps of a run in this process, and give the run the checkpoint."""
    place, _ = alone(store, run, base, out, stop_after=steps)
    saved = store.home.run_dir(run.uid) / "checkpoints" / f"step-{steps}"
    saved.parent.mkdir(parents=True)
    shutil.copytree(place, saved)
    with store.write():
        runs.keep_checkpoint(store, run.id, steps, store.home.relative(saved), manifest_of(saved)["files"])


def forget_until(told: Recorder, step: int) -> None:
    """Leave out what was told of the steps up to this one."""
    for numbers in told.numbers.values():
        for earlier in range(1, step + 1):
            numbers.pop(earlier, None)


def require_equal(store: Store, run: Run, adapter: Path, told: Recorder) -> None:
    """A finished run has the losses and the adapter of another one."""
    assert run.state == "succeeded", run.error
    for name in ("loss", "val_loss", "grad_norm", "lr", "drift"):
        mine = {m.step: m.value for m in runs.metrics(store, run.id, [name])}
        assert mine == pytest.approx(told.numbers.get(name, {}), abs=CLOSE), name
    found = store.home.absolute(str(run.adapter))
    mine, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (found, adapter))
    assert mine.keys() == theirs.keys() and mine
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, theirs[name], atol=CLOSE, rtol=0)
    for fact in ("config", "config_hash", "data_hash", "step", "total_steps"):
        assert manifest_of(found)[fact] == manifest_of(adapter)[fact]
    assert runs.live_attempts(store) == []


def processes_of(attempt: Attempt) -> list[psutil.Process]:
    """The agent of an attempt and its two processes."""
    agent = psutil.Process(attempt.pid)
    until(lambda: len(process.children_of(attempt.pid)) == 2)
    return [agent, *agent.children()]


def require_gone(many: list[psutil.Process]) -> None:
    until(lambda: all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in many))


def holding_at_5(store: Store) -> list[psutil.Process]:
    """Start the run; its processes when it waits after step 5."""
    attempt = run_control.start(store, "r")
    assert attempt is not None
    until(lambda: runs.get(store, "r").step == 5 or runs.get(store, "r").error)
    assert runs.get(store, "r").error is None
    return processes_of(attempt)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "qlora", "accumulation": 2, "batch_size": 6},  # in bf16 only the same passes round alike
        {"batch_size": 1, "packing": "padded"},  # one row a step: the second process has nothing to do
        {"drift": True, "rehearsal": 0.5, "lr_trial": True, "measure_every": 4, "result": "val-loss"},
        {"method": "full"},
    ],
    ids=["one batch", "qlora", "uneven", "measured", "full"],
)
def test_two_processes_train_what_one_does(who: Store, base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = submit(who, base, **TWO, **changes)
    run_control.start(who, "r")
    run = run_control.wait(who, "r")
    require_equal(who, run, *alone(who, run, base, tmp_path / "alone"))
    assert [saved.step for saved in runs.checkpoints(who, run.id)] == [4]
    assert (run.env["launcher"], run.env["processes"], run.env["threads"]) == ("torchrun", 2, 1)
    assert (
        run.config_hash == TrainConfig.from_json(run.config).replace(launcher="local", processes=1, shard=False).hash()
    )


@pytest.mark.slow
def test_two_processes_continue_what_one_began(who: Store, base: Path, tmp_path: Path) -> None:
    run = submit(who, base, **TWO)
    runs.set_wanted(who, "r", "stop")  # it leaves the queue
    begin_alone(who, run, base, tmp_path / "begun", 4)
    assert run_control.resume(who, "r") is not None
    run = run_control.wait(who, "r")
    adapter, told = alone(who, run, base, tmp_path / "whole")
    forget_until(told, 4)
    require_equal(who, run, adapter, told)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"method": "full"},
        {"batch_size": 1, "packing": "padded"},
        {"method": "full", "drift": True, "rehearsal": 0.5, "measure_every": 2, "result": "val-loss"},
        {"dora": True, "modules_to_save": ("embed_tokens",), "lora_plus": 4.0},
    ],
    ids=["full", "lora, uneven", "full, measured", "dora, whole modules"],
)
def test_two_processes_that_share_the_model_train_what_one_does(
    who: Store, base: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = submit(who, base, **SHARED, **changes)
    run_control.start(who, "r")
    run = run_control.wait(who, "r")
    adapter, told = alone(who, run, base, tmp_path / "alone")
    require_equal(who, run, adapter, told)
    assert (run.env["sharded"], [saved.step for saved in runs.checkpoints(who, run.id)]) == (True, [4])
    found = who.home.absolute(str(run.adapter))
    assert {path.name for path in found.iterdir()} == {path.name for path in adapter.iterdir()}
    kept = who.home.run_dir(run.uid) / "checkpoints" / "end"
    mine, theirs = (torch.load(place / "optimizer.pt") for place in (kept, adapter.parent / "checkpoints" / "end"))
    assert shapes_of(mine) == shapes_of(theirs)


def shapes_of(state: dict[str, Any]) -> list[Any]:
    """The shapes of an optimizer's state, in its order."""
    moments = [{name: tensor.shape for name, tensor in found.items()} for found in state["state"].values()]
    return [*moments, [master.shape for master in state["masters"]]]


@pytest.mark.slow
def test_a_run_goes_from_one_process_to_a_shared_model_and_back(
    who: Store, base: Path, tmp_path: Path, held: None
) -> None:
    run = submit(who, base, **SHARED, method="full")
    runs.set_wanted(who, "r", "stop")  # it leaves the queue
    begin_alone(who, run, base, tmp_path / "begun", 4)
    assert run_control.resume(who, "r") is not None
    until(lambda: runs.get(who, "r").step == 5 or runs.get(who, "r").error)
    run_control.stop(who, "r")
    run = run_control.wait(who, "r")
    assert (run.state, run.step) == ("stopped", 6), run.error
    assert run_control.resume(who, "r", launcher="local") is not None
    run = run_control.wait(who, "r")
    assert "shard" not in run.config and "processes" not in run.config
    adapter, told = alone(who, run, base, tmp_path / "whole")
    forget_until(told, 4)
    require_equal(who, run, adapter, told)


@pytest.mark.slow
def test_a_stop_is_heard_by_all_and_one_process_continues(who: Store, base: Path, tmp_path: Path, held: None) -> None:
    submit(who, base, **TWO)
    many = holding_at_5(who)
    run_control.stop(who, "r")
    run = run_control.wait(who, "r")
    assert (run.state, run.step) == ("stopped", 6), run.error
    assert [saved.step for saved in runs.checkpoints(who, run.id)] == [4, 6]
    require_gone(many)
    run_control.resume(who, "r", launcher="local")
    run = run_control.wait(who, "r")
    assert (run.config.get("launcher", "local"), run.env.get("processes", 1)) == ("local", 1)
    require_equal(who, run, *alone(who, run, base, tmp_path / "alone"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [TWO, SHARED], ids=["whole", "shared"])
@pytest.mark.parametrize("victim", [0, 1], ids=["first", "second"])
def test_a_killed_process_ends_the_run_and_leaves_none(
    who: Store, base: Path, held: None, victim: int, how: dict[str, Any]
) -> None:
    submit(who, base, **how)
    agent, *both = holding_at_5(who)
    first = next(p for p in both if _is_first(p))
    doomed = first if victim == 0 else next(p for p in both if p != first)
    doomed.kill()
    run = run_control.wait(who, "r")
    require_gone([agent, *both])
    assert run.state == "failed" and run.error is not None and run_control.can_resume(run)
    by_agent, by_first = rf"Process {victim + 1} of 2 \(pid {doomed.pid}\) was ended by SIGKILL", "has ended\\."
    assert re.search(f"{by_agent}|{by_first}", run.error), run.error
    if victim == 1:
        return
    again = run_control.resume(who, "r")
    assert again is not None and again.resume_from == 4
    until(lambda: runs.get(who, "r").step >= 5 or runs.get(who, "r").error)
    release(who, "r", 5)
    assert run_control.wait(who, "r").state == "succeeded"


def _is_first(one: psutil.Process) -> bool:
    return one.environ()["RANK"] == "0"


@pytest.mark.slow
def test_a_killed_agent_takes_its_processes_along(who: Store, base: Path, held: None) -> None:
    submit(who, base, **TWO)
    many = holding_at_5(who)
    run = run_control.stop(who, "r", now=True)
    assert run.state == "lost"
    require_gone(many)


@pytest.mark.slow
def test_a_shutdown_stops_with_a_checkpoint(who: Store, base: Path, held: None) -> None:
    submit(who, base, **TWO)
    many = holding_at_5(who)
    os.kill(many[0].pid, signal.SIGTERM)
    run = run_control.wait(who, "r")
    assert (run.state, run.step) == ("stopped", 6), run.error
    require_gone(many)


class TestPlace:
    """What a process knows of its place, without others."""

    def test_it_is_taken_out_of_the_environment(self) -> None:
        env = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1"}
        env |= {"MASTER_PORT": "9", "TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_ERROR_FILE": "/e", "HOME": "/h"}
        place = ranks.taken(env)
        assert (place.rank, place.world, place.local, place.launcher) == (1, 4, 1, "torchrun")
        assert env == {"TORCHELASTIC_ERROR_FILE": "/e", "HOME": "/h"} and ranks.taken(env) is ranks.ALONE

    def test_a_step_is_cut_so_that_each_process_has_a_pass(self) -> None:
        rows = [Example([1, 2, n, *range(9)], [MASKED] * 6 + [*range(6)], 6, False, True) for n in range(6)]
        passes = Passes(lambda many, most: packing.pack_shared(many, most, torch.float32), 1000)
        assert len(passes(rows)) == 1
        for over in (1, 2, 3, 6):
            packs = passes.spread(rows, over)
            assert len(packs) >= over and sum(pack.trained for pack in packs) == 36
        assert len(passes.spread(rows, 50)) == 6, "no more passes than rows"
        shares = [ranks.Ranks(rank, 2).share(packs) for rank in range(2)]
        assert sum(len(share) for share in shares) == len(packs)
