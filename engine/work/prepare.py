"""Turns weights that transformers cannot train on as they are (a GGUF file) into a folder of safetensors with a true tokenizer.
The only place that reads a GGUF for training; slow, so it runs once and its result is cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def prepare(source: Path, out: Path, say: Callable[[str], None]) -> Path:
    """Make the safetensors folder `out` from `source`, a .gguf file or a Hugging Face folder; returns `out`.

    Built in `out`.part, then renamed; `out`/.complete is written last. NoSpace when the disk cannot hold it, BadInput or
    Unsupported when the source cannot be read.
    """
    raise NotImplementedError
