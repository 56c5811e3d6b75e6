"""Prepared models: makes the cached folder of a model once, under a lock, and deletes what an interrupted attempt left.
convert_gguf.py makes the folder; this decides whether, where, and which process does it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.core import child
from engine.core.files import is_disk_full
from engine.models import default_model, gguf_source, refs
from engine.training.worker import error_messages
from store.errors import NotFound, Unsupported
from store.home import Home

Say = Callable[[str], None]


def folder(home: Home, ref: str, say: Say) -> Path:
    """The safetensors folder of the embedded model, a GGUF file, a folder or a hub model; made first if it is missing.

    One process works, others wait for it. Raises NoSpace, BadInput, NotFound or Unsupported.
    """
    parsed = refs.parse(ref)
    match parsed.kind:
        case "embedded":
            return _cached(home, parsed.value, default_model.gguf(), say)
        case "gguf":
            return _cached(home, parsed.value, Path(parsed.value), say)
        case "folder":
            return Path(parsed.value)
        case "hub":
            return _fetch(parsed.value, say)
    raise Unsupported(
        f"{ref} is not a base model.", todo="Name the embedded model, a folder, a .gguf file or org/name."
    )


def main(home: Home, ref: str) -> int:
    """`engine.training.worker prepare`: one JSON object a line, {"say": ...} or an error. Returns the exit code."""

    def work() -> None:
        home.ensure()
        folder(home, ref, lambda text: child.send({"say": text}))

    return child.report_errors(work, error_messages.sentence)


def _cached(home: Home, ref: str, source: Path, say: Say) -> Path:
    out = default_model.cache_dir(home, ref)
    if default_model.prepared(home, ref) is None:
        with alone(out, say):
            if default_model.prepared(home, ref) is None:  # another process may have made it while we waited
                _sweep(out)
                from engine.training.worker.convert_gguf import prepare

                say(f"Preparing {source.name} for training; this happens once.")
                prepare(source, out, say)
    gguf_source.complete(source, out)
    return out


@contextlib.contextmanager
def alone(out: Path, say: Say) -> Iterator[None]:
    """A lock for the one process that makes `out`. The system frees it when that process dies, however it dies."""
    out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(out.with_name(f".{out.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"The model is being prepared already{_by(handle)}; waiting for it.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.truncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _by(handle: int) -> str:
    """Which process has the lock, as far as it has said so: a check before a run, a run, or a command."""
    pid = os.pread(handle, 20, 0).decode("ascii", "replace")
    return f", by process {pid} of Tuningfork" if pid.isdigit() else ""


def _sweep(out: Path) -> None:
    """Delete what an interrupted attempt left at `out`; no other process works there while we have the lock."""
    for left in (out, *out.parent.glob(f"{out.name}.part*")):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def _fetch(name: str, say: Say) -> Path:
    """Download a hub model: only when the user asked for it."""
    found = refs.hub_snapshot(name)
    if found is not None:
        return found
    from huggingface_hub import snapshot_download

    say(f"Fetching {name} from the Hugging Face hub.")
    patterns = ["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model", "README.md", "LICENSE*"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except OSError as error:  # the hub's own errors are OSErrors too
        if is_disk_full(error):
            raise
        raise NotFound(
            f"{name} cannot be fetched: {error_messages.first_line(error)}",
            where=name,
            todo="Check the name, the network, and for a gated model your token (hf auth login).",
        ) from error
