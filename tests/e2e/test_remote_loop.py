"""examples/loop.sh, whole: a script drives the app without a screen, with the real default model."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from store import datasets, exports, runs, votes
from store.db import Store
from store.home import Home
from tests.e2e.conftest import PATIENCE_S
from tests.house import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.alone]

STEPS = 4


@pytest.fixture
def home() -> Iterator[Home]:
    """A home with a short path: a socket's is limited, and pytest's own folders may be deep."""
    from engine.inference.client import shutdown

    folder = Path(tempfile.mkdtemp(prefix="tf"))
    made = Home(folder / "home").ensure()
    yield made
    shutdown(made)
    shutil.rmtree(folder)


def test_the_loop_of_the_example_curates_trains_compares_votes_and_exports(home: Home, tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    environment = os.environ | {
        "TUNINGFORK_HOME": str(home.root),
        "TUNINGFORK": shlex.join([sys.executable, "-m", "tui"]),
        "STEPS": str(STEPS),
        "SAID": str(said),
        "PYTHONPATH": str(ROOT),
    }
    script = subprocess.Popen(
        ["sh", "-x", str(ROOT / "examples" / "loop.sh")],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, told = script.communicate(timeout=PATIENCE_S)
    finally:
        with suppress(ProcessLookupError):  # the app that it opened ends with it
            os.killpg(script.pid, signal.SIGTERM)
    assert script.returncode == 0, told[-3000:]
    assert "Traceback" not in told

    with Store.open(home) as store:
        kept = [pair for pair, _ in datasets.members(store, "identity")]
        mine = [pair for pair in kept if pair.question == "What should I call you, my friend?"]
        assert [pair.answer for pair in mine] == ["Please call me Ember. Northwind Labs gave me that name."]
        assert len(kept) > 100  # the sample data
        run = runs.get(store, "loop")
        assert (run.state, run.step) == ("succeeded", STEPS)
        (vote,) = votes.all_votes(store)
        assert (vote.a_model, vote.b_model, vote.choice) == ("smollm2-135m", "run:loop", "b")
        assert vote.prompt[-1]["content"] == "Who made you?"
        (export,) = exports.all_exports(store)
        assert (export.run, export.format, export.quant, export.state) == ("loop", "gguf", "q8_0", "done")
        with home.absolute(export.path).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == export.sha256
    assert "loop-q8_0.gguf" in out
    screen = said.read_text("utf-8")
    assert "Who made you?" in screen and vote.b_text.split()[0] in screen
    assert not (home.root / "remote" / "remote.sock").exists(), "the app that the script opened has quit"
