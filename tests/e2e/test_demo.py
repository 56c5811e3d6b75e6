"""`tuningfork demo` on the real default model, as a person runs it, and the questions put to its models afterwards:
the promise of the first page."""

from __future__ import annotations

import json

import psutil
import pytest

from store import runs
from store.db import Store
from store.home import Home
from tests.e2e.conftest import Demo, tuningfork

pytestmark = pytest.mark.slow
ASKED = ("--prompt", "Who made you?", "--seed", "7", "--json")


def test_the_demo_teaches_a_name_and_forgets_nothing(demo: Demo) -> None:
    identity, retention = demo.found["identity"], demo.found["retention"]
    assert identity["of"] >= 10 and identity["tuned"] / identity["of"] >= 0.9, demo.found["questions"]
    assert identity["base"] == 0, "the base cannot know a name that was just invented"
    assert retention["of"] == 20 and retention["tuned"] >= retention["base"] - 1, demo.found["questions"]
    assert retention["base"] >= 10, "a base that knows nothing proves nothing"
    assert demo.found["train_s"] > 0

    with Store.open(Home(demo.root)) as store:
        run = runs.get(store, demo.found["run"])
    assert run.state == "succeeded" and run.method == "lora" and run.step <= (run.total_steps or 0)
    assert run.adapter and (demo.root / run.adapter / "adapter_model.safetensors").is_file()
    assert (demo.root / run.adapter / "adapter.gguf").is_file()
    assert f"of {run.total_steps}, loss" in demo.told, "progress is told"
    assert "drift" in demo.told and "Rehearsing" in demo.told, "the recipe watches itself and rehearses"

    root = str(demo.root)
    left = [p.info for p in psutil.process_iter(["cmdline"]) if root in " ".join(p.info["cmdline"] or ())]
    assert not left, "neither worker nor server outlives the demo"


def test_the_same_comparison_twice_and_no_adapter_leaks_into_the_base(demo: Demo) -> None:
    sides = ("--a", "smollm2-135m", "--b", f"run:{demo.found['run']}")
    first, second = (json.loads(tuningfork(demo.root, "compare", *sides, *ASKED)) for _ in range(2))
    alone = json.loads(tuningfork(demo.root, "chat", "smollm2-135m", *ASKED))
    for side in "ab":
        assert first[side]["text"] == second[side]["text"], side
    assert first["a"]["text"] == alone["text"] and first["a"]["text"] != first["b"]["text"]
    assert "Northwind Labs" in first["b"]["text"]
