"""Whether a run's saved folders (checkpoints, the finished adapter) are still what was written: by manifest and hash.
For resume, chat and export alike. Reads files; changes nothing and loads no weights."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.core.files import sha256_of

MANIFEST = "manifest.json"
"""Written last into a folder, so that a folder with one is complete."""
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
"""The files that chat and export need."""


def manifest_of(folder: Path) -> dict[str, Any]:
    """A folder's manifest; {} when it has none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def damage(
    folder: Path, files: Mapping[str, Any], only: Collection[str] | None = None, *, hashes: bool = True
) -> str | None:
    """What is wrong with the files that a manifest lists ({name: {"sha256", "bytes"}}), or with those in `only`; None
    when all are as they were written. Without `hashes` only their sizes are looked at, which reads none of them."""
    if not folder.is_dir():
        return f"the folder {folder.name} is missing"
    for name, wanted in files.items():
        if only is not None and name not in only:
            continue
        try:
            stat = (folder / name).stat()
            same = stat.st_size == wanted["bytes"]
            if same and hashes:
                same = _digest(folder / name, stat.st_mtime_ns, stat.st_size) == wanted["sha256"]
        except OSError:
            return f"{name} is missing"
        if not same:
            return f"{name} is not what was saved"
    return None


@lru_cache(maxsize=512)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    """SHA-256 of a file; computed again when its time or size changed."""
    return sha256_of(path)
