"""Runs in two processes of a real Ray, which takes most of a minute to start: they train what one process does, and a
process or a driver that is killed leaves none behind. Skipped where Ray is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.training import run_control
from store import runs
from store.db import Store
from tests.engine.test_jobs import until
from tests.torch.test_ranks import alone, base, require_equal, require_gone, submit, who  # noqa: F401

pytest.importorskip("ray", reason="Ray is an extra: pip install 'tuningfork[ray]'")
pytestmark = pytest.mark.slow
TWO = {"launcher": "ray", "processes": 2}
LONG = {"steps": 100_000, "save_every": 5, "scheduler": "constant", "warmup": 0.0}
"""A run that is not over before the test has seen it."""


@pytest.fixture
def training(who: Store, base: Path) -> Iterator[list[psutil.Process]]:  # noqa: F811 - fixtures are imported
    """A long run on Ray after some steps: its driver, and all that this has started."""
    submit(who, base, **TWO, **LONG)
    attempt = run_control.start(who, "r")
    assert attempt is not None
    until(lambda: runs.get(who, "r").step > 5 or runs.get(who, "r").error)
    assert runs.get(who, "r").error is None
    driver = psutil.Process(attempt.pid)
    yield [driver, *driver.children(recursive=True)]


@pytest.mark.parametrize("shared", [{}, {"shard": True, "method": "full"}], ids=["whole", "shared"])
def test_ray_trains_what_one_process_does(
    who: Store,  # noqa: F811
    base: Path,  # noqa: F811
    tmp_path: Path,
    shared: dict[str, Any],
) -> None:
    run = submit(who, base, **TWO, **shared)
    run_control.start(who, "r")
    run = run_control.wait(who, "r")
    require_equal(who, run, *alone(who, run, base, tmp_path / "alone"))
    assert (run.env["launcher"], run.env["processes"]) == ("ray", 2)


def test_a_killed_process_ends_the_run_and_one_process_continues(
    who: Store,  # noqa: F811
    training: list[psutil.Process],
) -> None:
    workers = [one for one in training if "RayTrainWorker" in " ".join(one.cmdline())]
    assert len(workers) == 2
    workers[1].kill()
    run = run_control.wait(who, "r")
    assert run.state == "failed" and run.error is not None and "resume the run" in run.error
    require_gone(training)
    run_control.resume(who, "r", launcher="local")
    until(lambda: runs.get(who, "r").step > run.step or runs.get(who, "r").error)
    assert run_control.stop(who, "r", now=True).state == "lost"


@pytest.mark.parametrize(("now", "ends"), [(False, "stopped"), (True, "lost")], ids=["stop", "kill"])
def test_a_stop_leaves_no_process(who: Store, training: list[psutil.Process], now: bool, ends: str) -> None:  # noqa: F811
    run_control.stop(who, "r", now=now)
    run = run_control.wait(who, "r")
    assert run.state == ends, run.error
    require_gone(training)
    if not now:
        assert runs.checkpoints(who, run.id)[-1].step == run.step
