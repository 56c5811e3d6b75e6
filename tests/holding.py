"""Runs that wait for the test at chosen steps, so that no test depends on how fast the machine is.
A run that holds goes on when the test releases that step, or when it is asked to stop."""

from __future__ import annotations

import os
import time
from pathlib import Path

from engine.training.worker.contracts import Reporter
from store import runs
from store.db import Store

AT = "HOLD_AT"
"""Environment variable with the steps after which every run of a test holds: "1" or "1,3"."""
PATIENCE_S = 600.0  # a test that died must not leave a process behind for ever
DEADLINE_S = 120.0
"""After this long a test gives up: far more than anything takes on a busy machine."""


def hold(reporter: Reporter, out: Path, step: int) -> None:
    """In the worker, after `step`: wait until the test lets go of this step or a stop is wanted."""
    deadline = time.monotonic() + PATIENCE_S
    while reporter.wanted() == "run" and not (out / f"go-{step}").exists():
        if time.monotonic() > deadline:
            os._exit(99)
        time.sleep(0.02)


def release(store: Store, name: str, step: int = 1) -> None:
    """In the test: let a run go on that holds after `step`."""
    (store.home.run_dir(runs.get(store, name).uid) / f"go-{step}").touch()


def steps_of(text: str) -> set[int]:
    """The steps in "1,3"."""
    return {int(number) for number in text.split(",") if number}
