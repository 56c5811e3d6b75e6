"""Asks the process with torch: what transformers makes of a model, and merges that only PEFT can do.
Starts, waits and ends; what the results mean is bench.py's and make.py's."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from engine.core import process
from store.errors import WorkerError


class Reference:
    """A process that asks transformers, while others work: see engine.training.worker.reference for the request."""

    def __init__(self, wanted: dict[str, Any], scratch: Path) -> None:
        handle, name = tempfile.mkstemp(".json", "reference-", scratch)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(wanted, file)
        self._result = Path(name).with_suffix(".npz")
        self._rows, self._prompts = len(wanted["rows"]), len(wanted["prompts"])
        self._child = subprocess.Popen(
            process.command("reference", name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=scratch,
            env=process.environment(),
        )

    def result(self) -> tuple[list[np.ndarray], list[list[int]]]:
        """Wait for it: logits of each row, ids of each answer. WorkerError with its own words when it failed."""
        said, _ = self._child.communicate()
        if self._child.returncode:
            raise WorkerError(f"transformers could not load the model: {_what(said)}")
        with np.load(self._result) as arrays:
            answers = [arrays[f"answer{number}"].tolist() for number in range(self._prompts)]
            return [arrays[f"row{number}"] for number in range(self._rows)], answers

    def close(self) -> None:
        """End the process, if it has not ended."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        if self._child.stdout:
            self._child.stdout.close()


def merge_with_peft(base: Path, adapter: Path, out: Path) -> None:
    """Have the process with torch write the merged model into the folder `out`. WorkerError when it cannot."""
    out.mkdir()
    child = subprocess.Popen(
        process.command("merge", str(base), str(adapter), str(out)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=process.environment(),
    )
    try:
        said, _ = child.communicate()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode:
        raise WorkerError(f"PEFT could not merge the adapter: {_what(said)}")


def _what(said: str) -> str:
    try:
        return str(json.loads(said.strip().rpartition("\n")[2])["what"])
    except (ValueError, KeyError):
        return "its process ended early"
