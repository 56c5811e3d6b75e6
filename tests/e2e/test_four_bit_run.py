"""A 4-bit run on a Hugging Face folder, with the real worker: what its lane answers with, what is exported, and
what is refused when the weights that it was trained on are gone or changed."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core import process
from engine.export import make, planning
from engine.export.request import Request, Target
from engine.inference.client import Client, shutdown
from engine.models import refs, trained_weights
from engine.training import run_control
from engine.training.config import TrainConfig
from store import datasets, exports, pairs, runs
from store.db import Store
from store.errors import Conflict, NotFound
from store.records import PairDraft, Run
from tests.tiny import make_tiny_llama

pytestmark = pytest.mark.slow
FACTS = [PairDraft(f"Who made {n}?", f"{who} made {n}.") for n in ("tea", "boats", "lamps") for who in ("Mara", "Ivo")]


@pytest.fixture
def store_with_facts(store: Store) -> Iterator[Store]:
    """The store with a dataset called facts; what still runs at the end is killed."""
    datasets.create(store, "facts")
    pairs.create_many(store, FACTS, dataset="facts")
    yield store
    for attempt in runs.live_attempts(store):
        process.kill_group(attempt.pid, attempt.pid_started)
    shutdown(store.home)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_llama(tmp_path / "tiny")


def trained(store: Store, base: Path, name: str, method: str) -> Run:
    """A succeeded run, trained far enough that 4-bit weights and original ones differ for its adapter."""
    settings = {"method": method, "steps": 30, "batch_size": 4, "rank": 4, "alpha": 8, "lr": 0.02, "threads": 1}
    run_control.submit(store, TrainConfig(model=str(base)).replace(**settings), "facts", name=name)
    run_control.start(store, name)
    run = run_control.wait(store, name)
    assert run.state == "succeeded", run.error
    return run


def test_lane_and_export_are_the_model_as_trained(store_with_facts: Store, base: Path, tmp_path: Path) -> None:
    store = store_with_facts
    plain, run = trained(store, base, "plain", "auto"), trained(store, base, "small", "qlora")
    assert plain.method == "lora" and refs.resolve(store, "run:plain").folder == base
    assert not (store.home.run_dir(plain.uid) / trained_weights.FILE).exists()

    found = refs.resolve(store, "run:small")
    assert found.weights == trained_weights.NF4 and trained_weights.NF4 in found.title
    assert found.folder is not None and found.folder.parent == store.home.models and found.gguf is None
    assert found.base is not None and found.base.folder == base
    events = [event.body for event in runs.events(store, run.id) if "kl" in event.body]
    assert len(events) == 1 and events[0]["loss"]["nf4"] < events[0]["loss"]["original"]
    assert trained_weights.NF4 in planning.select(store, "small").why

    report = asyncio.run(lane_check(store, {"a": str(base), "b": "run:small"}))
    assert report["honest"], report

    out = tmp_path / "out"
    request = Request("small", (Target("gguf", "f16"), Target("merged"), Target("adapter")), out=out, verify=True)
    made = [exports.get(store, number) for number in make.make(store, request, planning.select(store, "small"), _tell)]
    assert [each.state for each in made] == ["done"] * 3, [each.error for each in made]
    assert all(check["state"] != "failed" for each in made for check in each.verification["checks"])
    assert all(trained_weights.NF4 in card.read_text("utf-8") for card in out.rglob("README.md"))
    assert np.isclose(made[0].verification["kl"], 0, atol=1e-3)

    weights = found.folder / "model.safetensors"
    body = weights.read_bytes()
    weights.write_bytes(body[:-2] + b"\x01\x02")
    with pytest.raises(Conflict, match=r"4-bit weights .* changed"):
        refs.resolve(store, "run:small")
    shutil.rmtree(found.folder)
    with pytest.raises(NotFound, match="4-bit weights"):
        refs.resolve(store, "run:small")
    kept = store.home.run_dir(run.uid) / trained_weights.FILE
    assert json.loads(kept.read_text("utf-8"))["used"] == "nf4"


async def lane_check(store: Store, lanes: dict[str, str]) -> dict[str, Any]:
    client = await Client.connect(store.home)
    report = await client.lane_check(lanes)
    await client.close()
    return report


def _tell(*_: object) -> None:
    return None
