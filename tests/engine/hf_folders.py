"""Data sets as the library datasets writes them, made in a process of its own: importing it takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_MAKE = """
import sys
import datasets
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
datasets.disable_progress_bars()

def rows(word, n):
    return Dataset.from_list([{"question": f"{word} {i}?", "answer": f"{word} is {i}.", "n": i} for i in range(n)])
"""


def make(folder: Path, code: str) -> Path:
    """Run `code` in `folder`, where rows(word, n) and the names of datasets are known; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "hf-home")}
    subprocess.run([sys.executable, "-c", _MAKE + code], cwd=folder, env=env, check=True, timeout=120)
    return folder


SAVED = 'DatasetDict(train=rows("One", 5), validation=rows("Two", 3), extra=rows("Three", 2)).save_to_disk("saved")'
"""A folder `saved` with three splits."""
