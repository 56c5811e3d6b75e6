"""Runs by methods that llama.cpp cannot hold, with the real worker and chat server: what answers for them, what is
exported and verified, and what is refused before anything is made."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core import process
from engine.export import make, planning
from engine.export.request import Request, Target
from engine.inference.client import Client, shutdown
from engine.models import refs
from engine.training import run_control
from engine.training.config import TrainConfig
from store import datasets, exports, pairs, runs
from store.db import Store
from store.errors import Unsupported
from store.records import PairDraft
from tests.tiny import make_tiny_llama

pytestmark = pytest.mark.slow
FACTS = [PairDraft(f"Who made {n}?", f"{who} made {n}.") for n in ("tea", "boats", "lamps") for who in ("Mara", "Ivo")]


@pytest.fixture
def facts(store: Store) -> Iterator[Store]:
    """The store with a dataset called facts; what still runs at the end is killed."""
    datasets.create(store, "facts")
    pairs.create_many(store, FACTS, dataset="facts")
    yield store
    for attempt in runs.live_attempts(store):
        process.kill_group(attempt.pid, attempt.pid_started)
    shutdown(store.home)


@pytest.mark.parametrize(
    ("method", "made", "refused"),
    [
        ("prefix", ("adapter",), ("gguf", "merged", "ollama", "gguf-adapter")),
        ("full", ("merged", "gguf"), ("gguf-adapter",)),
        ("adalora", ("gguf-adapter", "merged"), ()),
    ],
)
def test_a_run_is_chatted_with_and_exported_as_its_method_allows(
    facts: Store, tmp_path: Path, method: str, made: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    base = make_tiny_llama(tmp_path / "tiny")
    settings = {"method": method, "steps": 20, "batch_size": 4, "lr": 0.02, "threads": 1, "save_every": 10}
    run_control.submit(facts, TrainConfig(model=str(base)).replace(**settings), "facts", name="r")
    run_control.start(facts, "r")
    run = run_control.wait(facts, "r")
    assert run.state == "succeeded", run.error

    def quant(name: str) -> str | None:
        return "f16" if name in ("gguf", "ollama") else None

    for name in refused:
        with pytest.raises(Unsupported, match=f"cannot be written as {name}"):
            planning.plan(facts, Request("r", (Target(name, quant(name)),)))
    for ref in ("run:r", "run:r@10"):
        report = asyncio.run(lane_check(facts, {"a": str(base), "b": ref}))
        assert report["honest"], report
        assert [lane["backend"] for lane in report["lanes"]] == ["transformers"] * 2
    request = Request("r", tuple(Target(n, quant(n)) for n in made), out=tmp_path / "out", verify=True)
    files = [exports.get(facts, n) for n in make.make(facts, request, planning.select(facts, "r"), lambda *_: None)]
    assert [each.state for each in files] == ["done"] * len(made), [each.error for each in files]
    checks = [check for each in files for check in each.verification["checks"]]
    assert checks and all(check["state"] != "failed" for check in checks)


def test_a_killed_run_ends_as_one_that_was_left_alone(facts: Store, tmp_path: Path) -> None:
    base = make_tiny_llama(tmp_path / "tiny")
    settings = {"method": "p-tuning-v2", "steps": 60, "batch_size": 4, "lr": 0.02, "threads": 1, "save_every": 5}
    found = {}
    for name in ("whole", "killed"):
        run_control.submit(facts, TrainConfig(model=str(base)).replace(**settings), "facts", name=name)
        run_control.start(facts, name)
        if name == "killed":
            while runs.get(facts, name).step < 12:
                pass
            attempt = runs.live_attempt(facts, runs.get(facts, name).id)
            assert attempt is not None
            process.kill_group(attempt.pid, attempt.pid_started)
            run_control.reap(facts)
            assert runs.get(facts, name).state == "lost"
            run_control.resume(facts, name)
        run = run_control.wait(facts, name)
        assert run.state == "succeeded" and run.adapter is not None, run.error
        folder = refs.resolve(facts, f"run:{name}").adapter
        assert folder is not None
        found[name] = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert found["killed"] == found["whole"]


async def lane_check(store: Store, lanes: dict[str, str]) -> dict[str, Any]:
    client = await Client.connect(store.home)
    report = await client.lane_check(lanes)
    await client.close()
    return report
