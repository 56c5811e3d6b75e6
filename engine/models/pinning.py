"""The base of a run is pinned: a fingerprint is kept when the run starts, and whatever uses the run later (resume,
chat, export) refuses a base that changed meanwhile, with the names of the files that did."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.models.weight_files import weight_files
from store.errors import Conflict, TuningforkError
from store.records import Run

_SAMPLES, _SAMPLE_BYTES = 16, 4096
KEY = "base_files"
"""Where a run's `env` holds the fingerprint of its base."""


def fingerprint_of(gguf: Path | None, folder: Path | None) -> dict[str, str]:
    """The fingerprint of a base: of its GGUF file where it has one (the prepared folder is only a cache), else of
    its folder. Empty when it has neither."""
    base = gguf or folder
    return dict(_cached(base, _stamp(base))) if base is not None else {}


def check_unchanged(run: Run, gguf: Path | None, folder: Path | None) -> None:
    """Raise Conflict when the base of `run` is not what it was trained on. Runs without a fingerprint pass."""
    before: Mapping[str, Any] = run.env.get(KEY) or {}
    if not before:
        return
    changed = changes(before, fingerprint_of(gguf, folder))
    if changed:
        raise Conflict(
            f"The base of run {run.name} changed since it was trained: {', '.join(changed)}.",
            where=str(gguf or folder),
            todo="Restore the base as it was, or train again on the new one.",
        )


def _stamp(base: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times: while these stay, nothing is hashed again."""
    files = [base] if base.is_file() else sorted(path for path in base.iterdir() if path.is_file())
    return tuple((path.name, stat.st_size, stat.st_mtime_ns) for path in files for stat in (path.stat(),))


@lru_cache(maxsize=32)
def _cached(base: Path, stamp: tuple[tuple[str, int, int], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(fingerprint(base).items())


def fingerprint(model: Path) -> dict[str, str]:
    """What identifies a base: hashes by name, for a Hugging Face folder or a GGUF file (with all its shards).

    Hashed whole: configuration, tokenizer and template. Of each file with weights: its size, its header and 16 samples
    of 4 KiB spread over it, so that a changed file is found in milliseconds however large it is.
    """
    if model.is_file():
        return {path.name: _sampled(path) for path in [model]}
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
    found = {name: _whole(model / name) for name in names if (model / name).is_file()}
    try:
        weights = weight_files(model)
    except TuningforkError:
        weights = sorted(model.glob("*.safetensors"))
    return found | {path.name: _sampled(path) for path in weights if path.is_file()}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What differs between two fingerprints, one sentence part for each file; empty when they are equal."""
    return [
        *(f"{name} is gone" for name in sorted(before.keys() - after.keys())),
        *(f"{name} is new" for name in sorted(after.keys() - before.keys())),
        *(f"{name} changed" for name in sorted(before.keys() & after.keys()) if before[name] != after[name]),
    ]


def _whole(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(min(size, 1 << 20)))  # the header, or most of it
        for n in range(_SAMPLES):
            file.seek(max(0, (size - _SAMPLE_BYTES) * n // max(1, _SAMPLES - 1)))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
