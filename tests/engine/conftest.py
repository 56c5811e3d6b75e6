"""Fixtures for tests of jobs: a folder that only looks like a model, a dataset, real workers that train nothing.
Every worker that a test leaves behind is killed by its pid."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.core import process
from engine.training import run_control
from engine.training.config import TrainConfig
from store import datasets, pairs, runs
from store.db import Store
from store.records import PairDraft, Run
from tests.engine import fake_worker


@pytest.fixture
def fake_base(tmp_path: Path) -> Path:
    """A folder that resolves as a model; nothing can load it."""
    folder = tmp_path / "fake-base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def fake_data(store: Store) -> str:
    """The name of a dataset with four ready pairs."""
    datasets.create(store, "facts")
    pairs.create_many(store, [PairDraft(f"question {n}", f"answer {n}") for n in range(4)], dataset="facts")
    return "facts"


@pytest.fixture
def fake_workers(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers are real processes around a stand-in for training; see fake_worker.train for what a recipe does."""
    monkeypatch.setattr(process, "command", fake_worker.argv)
    yield
    for run in runs.all_runs(store):
        for attempt in runs.attempts(store, run.id):
            if attempt.pid in process._children:  # only what this test process started
                process.kill_group(attempt.pid, attempt.pid_started)


@pytest.fixture
def submit(store: Store, fake_base: Path, fake_data: str, fake_workers: None) -> Callable[..., Run]:
    """Queue a run whose recipe is the stand-in's behaviour: submit("hold", steps=20, name="one")."""

    def queue(mode: str = "quick", name: str | None = None, **changes: object) -> Run:
        config = TrainConfig(model=str(fake_base), recipe=mode, steps=4).replace(**changes)
        return run_control.submit(store, config, fake_data, name)

    return queue
