"""Fixtures that every room's tests share: a home in a temporary folder, an open store on it.
Nothing here imports torch or textual."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("TUNINGFORK_HOME", None)  # a test must never touch the user's own home folder

from store.db import Store
from store.home import Home

# Whoever started us in the background may have had these ignored, and every child process inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Property tests draw the same examples every time, so that a red test is red for everyone; `make fuzz` draws new ones.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.register_profile("fuzz", derandomize=False, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

SCREENS = Path(__file__).parent / "tui"


def pytest_configure(config: pytest.Config) -> None:
    """Each of several test processes keeps to its own cores, with all that it starts: the threads of two models that
    share a core wait for each other most of the time."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if number and hasattr(os, "sched_setaffinity"):
        processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        cores = sorted(os.sched_getaffinity(0))
        mine = cores[int(number) % processes :: processes]
        os.sched_setaffinity(0, mine or cores)


@pytest.hookimpl(tryfirst=True)  # a group counts only if it is there when the processes read the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that drive the app (most of the fast suite's minutes), those that draw at random, those that need
    the machine to themselves because the real default model computes on every core, and those that share what was made
    for them: all that ask about the demo's run, or else the tests of one file."""
    for item in items:
        if item.path.parent == SCREENS:
            item.add_marker("screen")
        if is_hypothesis_test(getattr(item, "obj", None)) or "seed" in getattr(item, "fixturenames", ()):
            item.add_marker("fuzz")
        fixtures = getattr(item, "fixturenames", ())
        if "default_base" in fixtures:
            item.add_marker("alone")
        item.add_marker(pytest.mark.xdist_group("demo" if "demo" in fixtures else str(item.path)))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with Store.open(home) as opened:
        yield opened


@pytest.fixture(scope="session")
def default_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded default model as a safetensors folder, made once a session. For slow tests; do not write into it."""
    from engine.models import default_model
    from engine.training.worker.convert_gguf import prepare

    return prepare(default_model.gguf(), tmp_path_factory.mktemp("models") / default_model.NAME, lambda text: None)
