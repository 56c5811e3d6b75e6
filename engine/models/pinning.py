"""The base of a run is pinned: a fingerprint is kept when the run starts, and whatever uses the run later (resume,
chat, export) refuses a base that changed meanwhile, with the names of the files that did."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.models import inspection
from store.errors import Conflict
from store.records import Run

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
    changed = inspection.changes(before, fingerprint_of(gguf, folder))
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
    return tuple(inspection.fingerprint(base).items())
