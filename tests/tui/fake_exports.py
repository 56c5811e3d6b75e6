"""Runs that can be exported, verified exports, and a stand-in for what the job that makes them does.
Files are a few bytes; nothing here needs a model."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.core import jobs
from engine.export import listing, planning, service
from engine.export.service import Planned, Request, Target
from engine.training import run_control
from engine.training.recipes import config_for
from store import exports, pairs, runs, worker
from store import jobs as kept
from store.db import Store
from store.records import Export, JobProgress, PairDraft, Run
from tests import in_thread

PASSED = [
    {"name": "tokens", "state": "passed", "said": "The file reads 40 lines as the base does."},
    {"name": "template", "state": "passed", "said": "Its chat template renders what the run was trained on."},
    {"name": "top-1", "state": "warn", "said": "The likeliest token agrees at 98.1% of 412 places."},
    {"name": "probes", "state": "skipped", "said": "No probes were given."},
]
FAILED = [PASSED[0], {"name": "probes", "state": "failed", "said": "It answers 1 of 6 questions as the run does."}]


def a_run(store: Store, name: str = "ember-1", *, steps: int = 40, checkpoint: int | None = None) -> Run:
    """A run that has ended well, with an adapter of 2 MB and perhaps a checkpoint, on the default base."""
    if not store.scalar("SELECT count(*) FROM pair"):
        drafts = [PairDraft(f"Who are you, {n}?", "I am Ember.") for n in range(4)]
        pairs.create_many(store, drafts, dataset="ember")
    run, token = run_control.submit(store, config_for("identity", "smollm2-135m"), "ember", name), f"token-{name}"
    runs.open_attempt(store, run.id, host="here", pid=1, pid_started=1.0, token=token, log_path="runs/x.log")
    worker.claim(store, token)
    worker.set_state(store, token, "running", total_steps=steps)
    worker.record(store, token, steps, {"loss": 0.4, "val_loss": 0.9})
    if checkpoint is not None:
        place = _adapter(store.home.run_dir(run.uid) / "checkpoints" / f"step-{checkpoint}")
        worker.add_checkpoint(store, token, checkpoint, store.home.relative(place), {}, val_loss=0.5)
    adapter = _adapter(store.home.run_dir(run.uid) / "adapter")
    worker.finish(store, token, "succeeded", adapter=store.home.relative(adapter))
    return runs.get(store, name)


def _adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"\0" * 2_000_000)
    return folder


def an_export(store: Store, planned: Planned, run: str, *, step: int | None = None, bad: str | None = None) -> Export:
    """Write a target's files as the process would; `bad` is the reason for which its verification failed."""
    path = (
        planned.path
        if bad is None
        else Path(f"{planned.folder}.rejected", *planned.path.parts[len(planned.folder.parts) :])
    )
    folder = path if path.suffix not in (".gguf", ".rejected") or path == planned.folder else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    for name in {path.name if path != folder else "model.safetensors", "README.md", "SHA256SUMS", "proof.json"}:
        (folder / name).write_bytes(b"x" * 500)
    report: dict[str, Any] = {
        "passed": bad is None, "held": bad is None, "base": "smollm2-135m", "run": run, "step": step, "snapshot": "abc",
        "checks": FAILED if bad else PASSED, "kl": None if bad else 0.0004, "types": {"Q8_0": 210},
        "files": sorted(file.name for file in folder.iterdir()), "seconds": 4.2,
        "advice": "Make q8_0 instead: it keeps the tuning." if bad else None,
    }  # fmt: skip
    with store.write():  # at once: it holds no lock, so another look at the store would take it for dead
        row = exports.start(
            store,
            run=run,
            step=step,
            format=planned.target.format,
            quant=planned.target.quant,
            path=store.home.relative(path),
        )
        end = {"sha256": "ab" * 32, "bytes": 145_000_000, "state": "rejected" if bad else "done", "error": bad}
        return exports.finish(store, row.id, verification=report, **end)  # type: ignore[arg-type]


@dataclass
class FakeExport:
    """Stands in for what the job does. While `gate` is not set it waits in the middle; `bad` targets are rejected."""

    asked: list[Request] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    cancelled: bool = False
    threads: list[threading.Thread] = field(default_factory=list)

    def __call__(self, job: jobs.JobWork) -> dict[str, Any]:
        store, request = job.store, Request.from_json(job.request["export"])
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        chosen = planning.selection(store, job.job.name, job.request["step"], job.request["why"])
        made = []
        for planned in planning.plan(store, request, chosen):
            title = planned.target.title
            planning.check_place(planned, request.overwrite)
            progress = JobProgress(title, "write", "blk.12.ffn_up", 120, 400, 8.5)
            kept.set_progress(store, job.job.token, progress)
            while not self.gate.wait(0.01):
                if job.wanted() != "run":
                    self.cancelled = True
                    raise KeyboardInterrupt
            an_export(store, planned, chosen.run.name, step=chosen.step, bad=self.bad.get(title))
            made.append(exports.all_exports(store)[0].id)
        return {"exports": made}


def install(monkeypatch: pytest.MonkeyPatch) -> FakeExport:
    """Put a stand-in in the place of the process, and of the commands to use what it makes."""
    fake = FakeExport()
    fake.gate.set()
    fake.threads = in_thread.install(monkeypatch, service.MODULE, fake)
    monkeypatch.setattr(listing, "commands", _commands)
    return fake


def _commands(home: Any, export: Export) -> list[tuple[str, str]]:
    if export.state != "done":
        return []
    path = home.absolute(export.path)
    return [
        ("llama.cpp", f"llama-cli -m {path} -cnv"),
        ("Ollama", f"ollama create {export.run} -f {path.parent}/Modelfile"),
    ]


def planned(store: Store, run: str, format: str = "gguf", quant: str | None = "q8_0") -> Planned:
    """One target as it would be made."""
    return planning.plan(store, Request(run, (Target(format, quant),)))[0]
