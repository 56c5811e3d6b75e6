"""A run's whole life with the real worker: the queue, checkpoints, a closed terminal, kill -9, stop and resume.
On the tiny model, and once on the real default model."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from engine.core import process
from engine.models import default_model, refs
from engine.training import run_control
from engine.training.config import TrainConfig
from store import datasets, pairs, runs
from store.db import Store
from store.home import Home
from store.records import END_STATES, PairDraft, Run
from tests import holding
from tests.e2e import held_worker
from tests.holding import DEADLINE_S
from tests.tiny import make_tiny_llama

pytestmark = pytest.mark.slow
FACTS = [
    PairDraft(f"Who made {thing}?", f"{maker} made {thing}.")
    for thing in ("the lamp", "the bridge", "the tea", "the boat")
    for maker in ("Mara", "Ivo", "Lena")
]


@pytest.fixture
def facts(store: Store) -> Iterator[Store]:
    """The store with a dataset called facts; what still runs at the end is killed."""
    datasets.create(store, "facts")
    pairs.create_many(store, FACTS, dataset="facts")
    yield store
    for attempt in runs.live_attempts(store):
        process.kill_group(attempt.pid, attempt.pid_started)


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    return str(make_tiny_llama(tmp_path / "tiny"))


def config(model: str, **changes: object) -> TrainConfig:
    settings = {"method": "lora", "steps": 6, "batch_size": 4, "rank": 4, "alpha": 8, "save_every": 2, "threads": 1}
    return TrainConfig(model=model).replace(**settings | changes)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """hold("1,3"): runs are trained for real, and wait for the test after steps 1 and 3."""

    def at(steps: str) -> None:
        monkeypatch.setenv(holding.AT, steps)
        monkeypatch.setattr(process, "command", held_worker.argv)

    return at


def until(true: Callable[[], object], seconds: float = 5 * DEADLINE_S) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def at_step(store: Store, name: str, step: int) -> None:
    until(lambda: runs.get(store, name).step >= step or runs.get(store, name).state in END_STATES)
    run = runs.get(store, name)
    assert run.state not in END_STATES, run.error


def usable(store: Store, ref: str) -> refs.Resolved:
    found = refs.resolve(store, ref)
    assert found.adapter is not None and (found.adapter / "adapter_model.safetensors").stat().st_size > 0
    return found


def test_submit_start_wait(facts: Store, tiny: str) -> None:
    run = run_control.submit(facts, config(tiny), "facts")
    assert run_control.start(facts, run.name) is not None
    said: list[str] = []
    steps: list[int] = []
    run = run_control.wait(
        facts,
        run.name,
        on_event=lambda event: said.append(str(event.body.get("text"))),
        on_metrics=lambda found: steps.extend(m.step for m in found if m.name == "loss"),
    )
    assert run.state == "succeeded", run.error
    assert steps == [1, 2, 3, 4, 5, 6] and run.total_steps == 6
    found = usable(facts, f"run:{run.name}")
    assert found.adapter_gguf is not None and found.adapter_gguf.read_bytes()[:4] == b"GGUF"
    assert said and f"run:{run.name}" in refs.known(facts)


def test_kill_9_then_resume_reaches_the_end(facts: Store, tiny: str, hold: Callable[[str], None]) -> None:
    hold("3,4")
    run = run_control.submit(facts, config(tiny, steps=8), "facts", "killed")
    attempt = run_control.start(facts, run.name)
    assert attempt is not None
    at_step(facts, run.name, 3)
    os.kill(attempt.pid, signal.SIGKILL)
    until(lambda: run.name in run_control.reap(facts))
    assert runs.get(facts, run.name).state == "lost"
    saved = runs.checkpoints(facts, run.id)[-1]
    usable(facts, f"run:{run.name}")
    again = run_control.resume(facts, run.name)
    assert again is not None and again.resume_from == saved.step == 2
    holding.release(facts, run.name, 3)  # which is done again
    at_step(facts, run.name, 4)
    run_control.stop(facts, run.name)
    run = run_control.wait(facts, run.name)
    assert (run.state, run.step) == ("stopped", 5), run.error
    steps = [m.step for m in runs.metrics(facts, run.id, ["loss"])]
    assert steps == [1, 2, 3, 4, 5], "no step is missing between the attempts"


def test_stop_leaves_a_usable_checkpoint_and_resume_succeeds(
    facts: Store, tiny: str, hold: Callable[[str], None]
) -> None:
    hold("1")
    run = run_control.submit(facts, config(tiny, steps=6, save_every=0), "facts", "stopped")
    run_control.start(facts, run.name)
    at_step(facts, run.name, 1)
    run_control.stop(facts, run.name)
    run = run_control.wait(facts, run.name)
    assert (run.state, run.step) == ("stopped", 2), run.error  # at the very next step
    assert usable(facts, "run:stopped").ref == "run:stopped@2"
    run_control.resume(facts, run.name)
    run = run_control.wait(facts, run.name)
    assert (run.state, run.step) == ("succeeded", 6), run.error
    assert usable(facts, "run:stopped").ref == "run:stopped"


def test_sigterm_saves_too(facts: Store, tiny: str, hold: Callable[[str], None]) -> None:
    hold("1")
    run = run_control.submit(facts, config(tiny, save_every=0), "facts")
    attempt = run_control.start(facts, run.name)
    assert attempt is not None
    at_step(facts, run.name, 1)
    os.kill(attempt.pid, signal.SIGTERM)
    run = run_control.wait(facts, run.name)
    assert run.state == "stopped", run.error
    usable(facts, f"run:{run.name}")


def test_a_closed_terminal_ends_nothing(facts: Store, tiny: str) -> None:
    """The launcher is a process of a real terminal session; closing it takes the launcher, and not the run."""
    run = run_control.submit(facts, config(tiny), "facts", "survivor")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from engine.training import run_control; from store.db import Store; from store.home import Home\n"
        "with Store.open(Home(Path(sys.argv[1]))) as store: run_control.start(store, sys.argv[2])\n"
        "time.sleep(600)\n"
    )
    env = process.environment()
    pid, master = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", code, str(facts.home.root), run.name], env)
    until(lambda: runs.get(facts, run.name).state != "queued")
    os.close(master)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP
    assert ended(facts, run.name).state == "succeeded"


def test_the_queue_goes_on_by_itself(facts: Store, tiny: str) -> None:
    first = run_control.submit(facts, config(tiny, steps=2, save_every=0), "facts", "first")
    second = run_control.submit(facts, config(tiny, steps=2, save_every=0), "facts", "second")
    assert run_control.start(facts, "first") is not None and run_control.start(facts, "second") is None
    until(lambda: runs.get(facts, "second").state in END_STATES)  # reads only: no reader helps the queue along
    for run in (first, second):
        assert runs.get(facts, run.name).state == "succeeded", runs.get(facts, run.name).error


@pytest.mark.alone
def test_a_real_run_on_the_default_model(home: Home, facts: Store) -> None:
    """QLoRA on the model that comes with the installation, prepared on the way by the worker itself."""
    run = run_control.submit(facts, config(default_model.NAME, method="qlora", steps=2, threads=None), "facts")
    attempt = run_control.start(facts, run.name)
    assert attempt is not None and runs.get(facts, run.name).state == "starting", "starting does not wait"
    phases: list[str] = []
    run = run_control.wait(facts, run.name, on_event=lambda event: phases.append(str(event.body.get("phase"))))
    assert run.state == "succeeded", run.error
    assert [phase for phase, _ in groupby(phases) if phase != "None"] == [
        "loading",
        "preparing",
        "loading",
        "training",
        "saving",
    ]
    assert default_model.prepared(home) is not None
    found = usable(facts, f"run:{run.name}")
    assert found.gguf == default_model.gguf() and found.adapter_gguf is not None
    losses = [m.value for m in runs.metrics(facts, run.id, ["loss"])]
    assert len(losses) == 2 and all(loss is not None and 0 < loss < 20 for loss in losses)


def ended(store: Store, name: str) -> Run:
    return run_control.wait(store, name, poll_s=0.1)
