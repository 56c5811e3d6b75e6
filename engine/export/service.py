"""Exports as the screens and the command line ask for them: what would be made, and making it in a process.
Light: the work (numpy, llama.cpp, proofs) happens in `python -m engine.export`, whose lines are read here."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from engine.core import process
from engine.export.listing import sweep
from engine.export.request import FORMATS, QUANTISED, QUANTS, Request, Target
from engine.models import refs
from engine.models.prepare import prepare
from engine.models.refs import Ref, Resolved
from store import errors, exports, runs
from store.db import Store
from store.errors import BadInput, Conflict, WorkerError
from store.home import Home
from store.records import Export, Run

__all__ = [
    "FORMATS", "QUANTISED", "QUANTS", "Planned", "Progress", "Request", "Target", "chosen", "export", "plan", "source",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planned:
    """A target before it is made. `path` is what will be its file or folder, `bytes` an estimate of its size, `kl` how
    far (mean KL divergence, nats) the last proven export of this base and quant was from the run; `taken` says that
    something is there already. `single`: one GGUF file at a path of the user's choice, without a folder of its own."""

    target: Target
    path: Path
    folder: Path
    bytes: int
    kl: float | None
    taken: bool
    single: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the work is. `stage` is write, quantise, reference or prove; `seconds_left` is of this stage."""

    target: str
    stage: str
    text: str
    done: int
    total: int
    seconds_left: float | None


def chosen(store: Store, text: str) -> tuple[Run, int | None, str]:
    """The run of `NAME` or `NAME@STEP`, the step to export (None: the finished adapter), and why that one.

    Without a step the checkpoint with the lowest validation loss is best, when losses were measured; else the end.
    Raises BadInput, NotFound.
    """
    asked = refs.parse_run(text)
    run = runs.get(store, asked.value)
    if asked.step is not None:
        return run, asked.step, f"step {asked.step}, as asked"
    measured = {c.step: c.val_loss for c in runs.checkpoints(store, run.id) if c.val_loss is not None}
    last = next((m.value for m in reversed(runs.metrics(store, run.id, ["val_loss"])) if m.value is not None), None)
    if not measured or not run.adapter:
        return run, None, "the end of the run"
    step = min(measured, key=lambda s: (measured[s], -s))
    if step == run.step or (last is not None and last <= measured[step]):
        return run, None, "the end of the run, where the validation loss was lowest"
    return run, step, f"step {step}, where the validation loss was lowest ({measured[step]:.3f})"


def source(store: Store, request: Request) -> Resolved:
    """The run's model with its base prepared. Raises what `refs.resolve` and `engine.models.prepare` raise."""
    run, step, _ = chosen(store, request.run)
    ref = str(Ref.run(run.name, step))
    refs.resolve(store, ref)  # what is wrong with the run is said before its base is made
    prepare(store, run.base)
    return refs.resolve(store, ref)


def plan(store: Store, request: Request) -> list[Planned]:
    """What the request would make, and how large. Raises BadInput for a target or path that cannot be."""
    run, step, _ = chosen(store, request.run)
    model = refs.resolve(store, str(Ref.run(run.name, step)))
    if not request.targets:
        raise BadInput("Nothing to make was named.", todo=f"Pick from {', '.join(FORMATS)}.")
    name = run.name + (f"-step{step}" if step is not None else "")
    return [_planned(store, request, target, name, run, model) for target in dict.fromkeys(request.targets)]


def _planned(store: Store, request: Request, target: Target, name: str, run: Run, model: Resolved) -> Planned:
    _check(target)
    file = f"{name}-{target.stem}.gguf" if target.format in ("gguf", "gguf-adapter") else None
    out, single = request.out and request.out.expanduser().resolve(), False
    if out is None:
        folder = store.home.exports / run.name / f"{name}-{target.stem}"
    elif out.suffix == ".gguf":
        if file is None or len(request.targets) > 1:
            raise BadInput(f"{out.name} names one GGUF file.", where="--out", todo="Give a folder instead.")
        folder, file, single = out.parent, out.name, True
    else:  # as cp does: into a folder that is there, else as that folder
        into = len(request.targets) > 1 or (out.is_dir() and not (out / "proof.json").is_file())
        folder = out / f"{name}-{target.stem}" if into else out
    path = folder / file if file else folder
    taken = path.exists() if single else folder.exists()
    kl = _known_kl(store, run.base, target)
    return Planned(target, path, folder, _size(target, model), kl, taken, single)


def _check(target: Target) -> None:
    if target.format not in FORMATS:
        raise BadInput(
            f"There is no export format {target.format!r}.", where="--to", todo=f"One of {', '.join(FORMATS)}."
        )
    if target.format in QUANTISED and target.quant not in QUANTS:
        what = f"There is no quant {target.quant!r}." if target.quant else f"{target.format} needs a quant."
        raise BadInput(what, where="--quant", todo=f"One of {', '.join(QUANTS)}.")
    if target.format not in QUANTISED and target.quant:
        raise BadInput(f"{target.format} has no quants.", where="--quant", todo="Leave --quant out.")


def _size(target: Target, model: Resolved) -> int:
    adapter = sum(f.stat().st_size for f in model.adapter.glob("*.safetensors")) if model.adapter else 0
    if target.format in ("adapter", "gguf-adapter"):
        return adapter * (2 if target.format == "gguf-adapter" else 1)
    return int(_weights(model) * (QUANTS[target.quant] if target.quant else 2))


def _weights(model: Resolved) -> int:
    """How many weights the base has, by the size of its files: two bytes each in the prepared folder."""
    if model.folder is not None:
        return sum(f.stat().st_size for f in model.folder.glob("*.safetensors")) // 2
    return int(model.gguf.stat().st_size / 0.65) if model.gguf else 0


def _known_kl(store: Store, base: str, target: Target) -> float | None:
    """The mean KL of the newest proven export of this base in this format and quant."""
    if target.format not in QUANTISED:
        return None
    for made in exports.all_exports(store):
        if made.quant == target.quant and made.proof.get("base") == base:
            found = made.proof.get("kl")
            return float(found) if found is not None else None
    return None


def export(
    store: Store,
    request: Request,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> list[Export]:
    """Make and prove every target, one after the other, in a process of its own; blocks until it ends.

    Returns the exports in their end state: done, or rejected when a proof failed. `cancel`, once set, ends the process
    and what it had begun; then Conflict is raised. Raises BadInput, Conflict (a target exists and `overwrite` is off),
    NoSpace, Unsupported, WorkerError.
    """
    sweep(store)
    source(store, request)
    child = _start(store.home, request)
    watcher = threading.Thread(target=_watch, args=(child, cancel or threading.Event()), daemon=True)
    watcher.start()
    try:
        made = [exports.get(store, number) for number in _follow(child, on_progress)]
    finally:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.kill()
        child.wait()
        watcher.join()
        sweep(store)
    if cancel is not None and cancel.is_set():
        raise Conflict("The export was cancelled; nothing of it is left.", todo="Start it again when you like.")
    if child.returncode != 0:
        log = store.home.logs / "export.log"
        raise WorkerError(
            f"The export process ended early ({_how(child.returncode)}).",
            where=str(log),
            todo=process.last_line(log) or "Try again; if it stays so, report it.",
        )
    return made


def _start(home: Home, request: Request) -> subprocess.Popen[str]:
    home.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    command, body = [sys.executable, "-m", "engine.export", "--home", str(home.root)], json.dumps(request.to_json())
    with (home.logs / "export.log").open("w") as log:
        return subprocess.Popen(
            [*command, "--request", body],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            cwd=home.root,
            # products of rank 16 are too small to share: numpy's threads would only wait for each other
            env=process.environment(offline=request.converter == "native") | {"OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C reaches us; we end the process in order
        )


def _watch(child: subprocess.Popen[str], cancel: threading.Event) -> None:
    while child.poll() is None:
        if cancel.wait(0.1):
            child.terminate()
            return


def _how(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"


def _follow(child: subprocess.Popen[str], on_progress: Callable[[Progress], None] | None) -> list[int]:
    """Read the process's lines to the end: {"progress": …}, {"export": id}, or an error, which is raised."""
    made: list[int] = []
    clock = _Clock()
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            said = json.loads(line)
            if "error" in said:
                kind = errors.kind_named(said["error"], WorkerError)
                raise kind(str(said["what"]), where=said.get("where"), todo=said.get("todo"))
            if "export" in said:
                made.append(int(said["export"]))
            elif on_progress is not None:
                on_progress(clock.timed(Progress(**said["progress"], seconds_left=None)))
    return made


_SETTLED_S, _SETTLED_PARTS = 0.5, 20


class _Clock:
    """Time left of a stage, from the rate since it began."""

    def __init__(self) -> None:
        self._stage: tuple[str, str] | None = None
        self._since = 0.0

    def timed(self, progress: Progress) -> Progress:
        """The same with `seconds_left`, once enough of the stage is done to tell."""
        if self._stage != (progress.target, progress.stage):
            self._stage, self._since = (progress.target, progress.stage), time.monotonic()
        spent = time.monotonic() - self._since
        if spent < _SETTLED_S or not progress.total <= progress.done * _SETTLED_PARTS:
            return progress
        return replace(progress, seconds_left=round(spent * (progress.total - progress.done) / progress.done, 1))
