"""Which pairs of a run's data taught it an answer, best first. The gradients are the worker's (worker/taught.py)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core import child, process
from engine.models import refs
from engine.training import run_control
from engine.training.config import TrainConfig
from store import datasets, runs
from store.db import Store
from store.errors import Conflict, Unsupported, WorkerError
from store.records import Message, SnapshotRow

TOP = 10


@dataclass(frozen=True, slots=True)
class Teacher:
    """A row and how alike its gradient is to the answer's: 1 is the same direction, 0 none, below 0 it taught the
    opposite."""

    row: SnapshotRow
    score: float


def teachers(
    store: Store,
    run: str,
    said: Sequence[Message],
    top: int = TOP,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Teacher]:
    """The rows of the run's train split that taught it the last message of a conversation most, the strongest first.

    Takes about as long as one pass over the data. `on_progress` gets the rows read, and of how many; what it raises
    ends the work. NotFound for an unknown run; Conflict when it has no adapter; WorkerError when its process fails.
    """
    found = runs.get(store, run)
    if not found.adapter:
        raise Conflict(f"Run {run} has no adapter yet.", todo=f"Watch it: tuningfork runs watch {run}")
    if (objective := TrainConfig.from_json(found.config).objective) != "sft":
        what = f"Run {run} was trained towards {objective}; only pairs of an sft run can have taught it an answer."
        raise Unsupported(what, todo="Ask for the run that it was trained on top of.")
    rows = {row.ord: row for row in datasets.snapshot_rows(store, found.snapshot, "train")}
    request = {
        "folder": str(run_control.prepare(store, refs.resolve(store, found.base).ref)),
        "adapter": str(store.home.absolute(found.adapter)),
        "config": found.config,
        "rows": [[ord, row.messages] for ord, row in rows.items()],
        "answers": [list(said)],
    }
    scores: dict[str, float] | None = None
    with tempfile.TemporaryDirectory(prefix="taught-", dir=store.home.root) as scratch:
        file = Path(scratch) / "request.json"
        file.write_text(json.dumps(request), "utf-8")
        with child.Child(
            process.command("taught", str(file)), "Comparing gradients", env=process.environment()
        ) as work:
            for message in work.messages():
                if "scores" in message:
                    scores = message["scores"][0]
                elif on_progress and "progress" in message:
                    on_progress(message["progress"], message["of"])
    if scores is None:
        raise WorkerError("The process that compares gradients ended without a result.", where=f"run {run}")
    ranked = sorted(scores.items(), key=lambda item: -item[1])[:top]
    return [Teacher(rows[int(ord)], score) for ord, score in ranked]
