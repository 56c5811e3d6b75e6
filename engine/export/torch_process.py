"""Asks the process with torch: what transformers makes of a model, and merges that only PEFT can do.
Starts, waits and ends; reference_measurements.py and make.py use the results."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from engine.core import child, process
from engine.core.child import Child
from store.errors import TuningforkError, WorkerError


class Reference:
    """A process that asks transformers, while others work: see engine.training.worker.reference for the request."""

    def __init__(self, wanted: dict[str, Any], scratch: Path) -> None:
        handle, name = tempfile.mkstemp(".json", "reference-", scratch)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(wanted, file)
        self._result = Path(name).with_suffix(".npz")
        self._rows, self._prompts = len(wanted["rows"]), len(wanted["prompts"])
        argv, env = process.command("reference", name), process.environment()
        self._child = Child(argv, "Asking transformers", env=env, cwd=scratch)

    def result(self) -> tuple[list[np.ndarray], list[list[int]]]:
        """Wait for it: logits of each row, ids of each answer. WorkerError in its own words when it failed."""
        try:
            self._child.wait()
        except TuningforkError as error:
            raise WorkerError(f"transformers could not load the model: {error.what}", todo=error.todo) from error
        with np.load(self._result) as arrays:
            answers = [arrays[f"answer{number}"].tolist() for number in range(self._prompts)]
            return [arrays[f"row{number}"] for number in range(self._rows)], answers

    def close(self) -> None:
        """End the process, if it has not ended."""
        self._child.close()


def merge_with_peft(base: Path, adapter: Path, out: Path) -> None:
    """Have the process with torch write the merged model into the folder `out`. WorkerError when it cannot."""
    out.mkdir()
    argv = process.command("merge", str(base), str(adapter), str(out))
    try:
        child.run(argv, "Merging with PEFT", env=process.environment())
    except TuningforkError as error:
        raise WorkerError(f"PEFT could not merge the adapter: {error.what}", todo=error.todo) from error
