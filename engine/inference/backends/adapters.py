"""Where the GGUF form of a run's adapter is: made at the end of the run, or converted here on demand and kept in the
cache. A cached file belongs to one version of the adapter; a checkpoint's own folder is never written to."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.models.refs import Resolved
from store.errors import NotFound, ServerError
from store.home import Home

_KEPT = 16
"""Converted adapters in the cache."""


def gguf_adapter(home: Home, model: Resolved) -> Path | None:
    """The GGUF adapter of a tuned model, None for a base. Converting takes about 0.1 s and happens once for each
    version.

    Raises Unsupported when the adapter cannot be expressed, ServerError when the base is not prepared.
    """
    if model.adapter is None:
        return None
    path = _place(home, model, model.adapter)
    if not path.exists():
        if model.folder is None:
            raise ServerError(f"The base of {model.title} is not prepared.", todo="Try again in a few seconds.")
        from engine.gguf.adapter import convert  # numpy and gguf: 0.14 s that most answers need not pay

        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        convert(model.adapter, model.folder, path)
        _thin_out(path.parent)
    return path


def _thin_out(folder: Path) -> None:
    """Keep the newest: a lane that follows a run has one converted for every checkpoint."""
    made = sorted(folder.glob("*.gguf"), key=lambda path: path.stat().st_mtime_ns)
    for old in made[:-_KEPT]:
        old.unlink(missing_ok=True)  # one that is in use stays readable to whoever has it open


def must_convert(home: Home, model: Resolved) -> bool:
    """Whether `gguf_adapter` would have to convert, which needs the prepared base."""
    return model.adapter is not None and not _place(home, model, model.adapter).exists()


def _place(home: Home, model: Resolved, adapter: Path) -> Path:
    """The file that the run made, unless the weights are newer; else a place in the cache for this version of
    the weights."""
    try:
        weights = (adapter / "adapter_model.safetensors").stat()
    except FileNotFoundError:  # a run removes older checkpoints while it trains
        gone = f"The weights of {model.title} are gone from the disk."
        raise NotFound(gone, where=str(adapter), todo="Ask again: the newest checkpoint then answers.") from None
    if model.adapter_gguf is not None and model.adapter_gguf.stat().st_mtime_ns >= weights.st_mtime_ns:
        return model.adapter_gguf
    mark = hashlib.sha256(f"{adapter}\0{weights.st_mtime_ns}\0{weights.st_size}".encode()).hexdigest()[:16]
    return home.cache / "adapters" / f"{mark}.gguf"
