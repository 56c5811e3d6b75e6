"""One demo run on the real default model, shared by every test of what comes after training.
A whole QLoRA run takes a minute and a half on two idle cores: it happens once a session."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.core import jobs
from engine.inference.client import shutdown
from store import jobs as kept
from store.db import Store
from store.home import Home


@dataclass(frozen=True)
class Demo:
    """What `tuningfork demo --json` left: its home, its last line, and what it told on the way."""

    root: Path
    found: dict[str, Any]
    told: str


PATIENCE_S = 3600.0
"""A command that hangs fails its test after this long; a busy machine needs a fraction of it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The fixtures here train and export for minutes, on a busy machine for many: their tests are as patient as they
    are. (This sees the tests of all folders.)"""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(PATIENCE_S))


def tuningfork(root: Path, *words: str, expect: int = 0, timeout: float = PATIENCE_S) -> str:
    """Run the command line as a user does; returns its stdout."""
    argv = [sys.executable, "-m", "tui", "--home", str(root), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == expect, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    root = tmp_path_factory.mktemp("demo") / "home"
    argv = [sys.executable, "-m", "tui", "demo", "--home", str(root), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    yield Demo(root, json.loads(done.stdout.splitlines()[-1]), done.stderr)
    with Store.open(Home(root)) as store:  # a test that was cut off leaves its export running
        for job in kept.unfinished(store):
            jobs.stop(store, job.id, now=True)
    shutdown(Home(root))
