"""Makes a model ready for training and chat: runs `engine.training.worker prepare` and reports its progress.
The work itself (torch, the network for hub models) happens in that process; this one stays light."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.core import process
from engine.models import default_model, refs
from store import errors
from store.db import Store
from store.errors import TuningforkError, Unsupported, WorkerError


def prepare(store: Store, ref: str, on_line: Callable[[str], None] | None = None) -> Path:
    """The safetensors folder of `ref`, made first if need be; a run's is its base's.

    When two callers race, one prepares and the other waits. `on_line` gets progress lines. Raises NotFound, BadInput,
    NoSpace, Unsupported (an endpoint has no folder), or WorkerError when the process fails.
    """
    parsed = refs.parse(ref)
    if parsed.kind == "endpoint":
        raise Unsupported(f"{ref} is an endpoint: its weights are not on this machine.", todo="Chat with it as it is.")
    if parsed.kind != "hub":
        resolved = refs.resolve(store, ref)
        if resolved.folder is not None:
            return resolved.folder
        ref = (resolved.base or resolved).ref
    elif (folder := refs.hub_snapshot(parsed.value)) is not None:
        return folder
    _run(store, ref, parsed.kind == "hub", on_line or (lambda line: None))
    folder = refs.hub_snapshot(parsed.value) if parsed.kind == "hub" else default_model.prepared(store.home, ref)
    if folder is None:
        raise WorkerError(f"Preparing {ref} ended without its folder.", todo="Try again; if it stays so, report it.")
    return folder


def _run(store: Store, ref: str, online: bool, on_line: Callable[[str], None]) -> None:
    """Start the process and read its output: one JSON object per line; other lines come from libraries."""
    noise = ""
    child = subprocess.Popen(
        process.command("prepare", ref, "--home", str(store.home.root)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=store.home.root,
        env=process.environment(offline=not online),
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            said = _parse(line)
            if said is None:
                noise = line.strip() or noise
            elif "say" in said:
                on_line(str(said["say"]))
            else:
                child.wait()
                raise _error(said)
        if child.wait() != 0:
            how = f"exit code {child.returncode}" if child.returncode > 0 else f"signal {-child.returncode}"
            raise WorkerError(f"Preparing {ref} failed ({how}).", todo=noise[:300] or None)
    finally:
        if child.poll() is None:  # interrupted: the next call removes what is left over
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()


def _parse(line: str) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and ({"say", "error"} & said.keys()) else None


def _error(said: dict[str, Any]) -> TuningforkError:
    """The error that the process printed, as what it was."""
    kind = errors.kind_named(said["error"], WorkerError)
    return kind(str(said.get("what") or "Preparing failed."), where=said.get("where"), todo=said.get("todo"))
