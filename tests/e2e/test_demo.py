"""`tuningfork demo` on the real default model, as a person runs it: the promise of the first page, in one test.
Slow: a whole QLoRA run, about a minute and a half on two idle cores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from store import runs
from store.db import Store
from store.home import Home


@pytest.mark.slow
def test_the_demo_teaches_a_name_and_forgets_nothing(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "tui", "demo", "--home", str(root), "--json"],
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])

    identity, retention = found["identity"], found["retention"]
    assert identity["of"] >= 10 and identity["tuned"] / identity["of"] >= 0.9, found["questions"]
    assert identity["base"] == 0, "the base cannot know a name that was just invented"
    assert retention["of"] == 20 and retention["tuned"] >= retention["base"] - 1, found["questions"]
    assert retention["base"] >= 10, "a base that knows nothing proves nothing"
    assert 0 < found["train_s"] < 180

    store = Store.open(Home(root))
    run = runs.get(store, found["run"])
    assert run.state == "succeeded" and run.method == "qlora" and run.step == run.total_steps
    assert run.adapter and (root / run.adapter / "adapter_model.safetensors").is_file()
    assert (root / run.adapter / "adapter.gguf").is_file()
    assert f"of {run.total_steps}, loss" in done.stderr, "progress is told"

    left = [p.info for p in psutil.process_iter(["cmdline"]) if str(root) in " ".join(p.info["cmdline"] or ())]
    assert not left, "neither worker nor server outlives the demo"
