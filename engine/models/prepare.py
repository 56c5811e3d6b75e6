"""Makes a model ready for training and chat: runs `engine.training.worker prepare` and reports its progress.
The work itself (torch, the network for hub models) happens in that process; this one stays light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.core import child, process
from engine.models import default_model, gguf_source, refs
from store.db import Store
from store.errors import Unsupported, WorkerError


def prepare(
    store: Store,
    ref: str,
    on_line: Callable[[str], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> Path:
    """The safetensors folder of `ref`, made first if need be; a run's is its base's.

    When two callers race, one prepares and the other waits. `on_line` gets progress lines. Raises NotFound, BadInput,
    NoSpace, Unsupported (an endpoint has no folder), or WorkerError when the process fails; ChildStopped soon after
    `stopped` says so.
    """
    parsed = refs.parse(ref)
    if parsed.kind == "endpoint":
        raise Unsupported(f"{ref} is an endpoint: its weights are not on this machine.", todo="Chat with it as it is.")
    if parsed.kind != "hub":
        resolved = refs.resolve(store, ref)
        if resolved.folder is not None:
            if resolved.gguf is not None:
                gguf_source.complete(resolved.gguf, resolved.folder)
            return resolved.folder
        ref = (resolved.base or resolved).ref
    elif (folder := refs.hub_snapshot(parsed.value)) is not None:
        return folder
    _run(store, ref, parsed.kind == "hub", on_line or (lambda line: None), stopped)
    folder = refs.hub_snapshot(parsed.value) if parsed.kind == "hub" else default_model.prepared(store.home, ref)
    if folder is None:
        raise WorkerError(f"Preparing {ref} ended without its folder.", todo="Try again; if it stays so, report it.")
    return folder


def _run(
    store: Store, ref: str, online: bool, on_line: Callable[[str], None], stopped: Callable[[], bool] | None
) -> None:
    argv = process.command("prepare", ref, "--home", str(store.home.root))
    env = process.environment(offline=not online)
    # what an interrupt leaves behind is removed by the next one that prepares this model
    child.run(
        argv,
        f"Preparing {ref}",
        lambda m: on_line(str(m.get("say", ""))),
        env=env,
        cwd=store.home.root,
        stopped=stopped,
    )
