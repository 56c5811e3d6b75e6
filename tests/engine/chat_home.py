"""A home whose models are tiny GGUF files and a finished run on them, for tests that talk to a real chat server."""

from __future__ import annotations

import json
import os
from pathlib import Path

from engine.core import process
from engine.gguf.adapter import convert
from store import datasets, pairs, runs
from store.db import Store
from store.home import Home
from store.records import PairDraft
from tests.engine.tiny_gguf import Lora, write_adapter, write_config, write_gguf


def begin_run(store: Store, name: str, base: Path) -> Path:
    """A run that is going and has nothing to load yet: its folder. Its attempt's token is `token-NAME`."""
    datasets.ensure(store, "facts")
    pairs.create_many(store, [PairDraft(f"question for {name}", "answer")], dataset="facts")
    snapshot = datasets.freeze(store, "facts")
    config = {"model": str(base)}
    run = runs.create(
        store, name=name, base=str(base), snapshot=snapshot.hash, method="lora", config=config, config_hash="x", seed=0
    )
    pid = os.getpid()  # a process that lives, so that nobody buries the run
    started = process.started_at(pid) or 0.0
    runs.open_attempt(
        store, run.id, host=process.here(), pid=pid, pid_started=started, token=f"token-{name}", log_path="x"
    )
    runs.claim(store, f"token-{name}")
    return store.home.run_dir(run.uid)


def add_checkpoint(store: Store, name: str, step: int) -> Path:
    """A checkpoint of the run, with weights of its own; its folder."""
    run = store.home.run_dir(runs.get(store, name).uid)
    folder = write_adapter(run / f"checkpoints/step-{step}", Lora(seed=step))
    convert(folder, write_config(run / "base"), folder / "adapter.gguf")
    runs.add_checkpoint(store, f"token-{name}", step, store.home.relative(folder), {})
    return folder


def add_run(store: Store, name: str, base: Path, lora: Lora, *, gguf: bool = True) -> Path:
    """A run that succeeded: its adapter folder, with the GGUF form unless `gguf` is False."""
    run = begin_run(store, name, base)
    folder = write_adapter(run / "adapter", lora)
    if gguf:
        convert(folder, write_config(run / "base"), folder / "adapter.gguf")
    runs.finish(store, f"token-{name}", "succeeded", adapter=store.home.relative(folder))
    return folder


def chat_home(root: Path) -> tuple[Home, Path]:
    """A home with the run `tuned` on a tiny GGUF file; that file."""
    home = Home(root / "home").ensure()
    base = write_gguf(root / "tiny.gguf")
    with Store.open(home) as store:
        add_run(store, "tuned", base, Lora())
    return home, base


def server_pid(home: Home) -> int:
    """The process that the home's server file names."""
    return int(json.loads((home.root / "server.json").read_text())["pid"])
