"""What the Export screen asks the store about runs and their exports, each in one call.
Runs in threads of the bridge; knows no widget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from engine import job_list
from engine.export import listing, planning, service, targets
from engine.export.service import Planned, Request, Target
from engine.job_list import JobView
from engine.models.refs import Ref
from store import exports, runs
from store.db import Store
from store.errors import NotFound
from store.records import Export, Run


@dataclass(frozen=True, slots=True)
class RunExports:
    """A run with what was made of it, newest first. `run` is None when the run was removed and its exports stayed."""

    name: str
    run: Run | None
    steps: tuple[int, ...]
    exports: tuple[Export, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """What could be made: which step and why, every quant of the format, and what is chosen."""

    why: str
    base: str
    quants: tuple[Planned, ...]
    chosen: tuple[Planned, ...]
    home: Path

    def place(self, path: Path) -> str:
        """A path as it is best read: within the home from there on."""
        return str(path.relative_to(self.home)) if path.is_relative_to(self.home) else str(path)

    @property
    def bytes(self) -> int:
        """The estimated size of all that is chosen."""
        return sum(planned.bytes for planned in self.chosen)


@dataclass(frozen=True, slots=True)
class MadeExport:
    """An export with where it lies, the commands to use it, and what deleting it would delete.

    `gguf` is the file that Compare can open beside `base`: the run, or its base model when the run is gone.
    """

    export: Export
    path: Path
    folder: Path
    commands: tuple[tuple[str, str], ...]
    files: tuple[Path, ...]
    bytes: int
    gguf: Path | None
    beside: str


def run_exports(store: Store) -> list[RunExports]:
    """Every run that has something to export, newest first, then those that left exports behind."""
    made: dict[str, list[Export]] = {}
    for export in exports.all_exports(store):
        made.setdefault(export.run, []).append(export)
    found = []
    for run in runs.all_runs(store):
        steps = tuple(c.step for c in runs.checkpoints(store, run.id))
        if run.adapter or steps or run.name in made:
            found.append(RunExports(run.name, run, steps, tuple(made.pop(run.name, ()))))
    return found + [RunExports(name, None, (), tuple(left)) for name, left in made.items()]


def overview(store: Store) -> tuple[list[RunExports], list[JobView]]:
    """The exports of every run, and the jobs of exports that have not ended."""
    return run_exports(store), [job_list.of_job(job) for job in service.running(store)]


def sweep(store: Store) -> None:
    """End what a dead process left as working."""
    listing.sweep(store)


def offer(store: Store, request: Request) -> Offer:
    """What the request would make, and the sizes of all quants of its format. Raises what `planning.plan`
    raises."""
    chosen = planning.select(store, request.run)
    format = request.targets[0].format if request.targets else next(iter(targets.REGISTRY))
    every = tuple(Target(format, quant) for quant in targets.get(format).quants) or (Target(format),)
    quants = planning.plan(store, replace(request, targets=every, out=None), chosen)
    planned = planning.plan(store, request, chosen)
    return Offer(chosen.why, chosen.run.base, tuple(quants), tuple(planned), store.home.root)


def submit(store: Store, request: Request) -> list[JobView]:
    """Start the export, or queue it; returns the jobs of exports that have not ended. Raises what `service.submit`
    raises."""
    service.submit(store, request)
    return [job_list.of_job(job) for job in service.running(store)]


def made(store: Store, export_id: int) -> MadeExport | None:
    """One export now; None when it was deleted meanwhile."""
    try:
        export = exports.get(store, export_id)
    except NotFound:
        return None
    path = store.home.absolute(export.path)
    files = tuple(listing.files_of(store.home, export))
    return MadeExport(
        export,
        path,
        path if path.is_dir() else path.parent,
        tuple(listing.commands(store.home, export)),
        files,
        sum(_size(file) for file in files),
        _gguf(export, path),
        _beside(store, export),
    )


def _size(path: Path) -> int:
    """Bytes of a file or a folder; 0 for one that is being deleted meanwhile."""
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _gguf(export: Export, path: Path) -> Path | None:
    """The GGUF file with the whole model in it."""
    if export.state != "done" or not targets.is_whole_gguf(export.format):
        return None
    found = [path] if path.suffix == ".gguf" else sorted(path.glob("*.gguf"))
    return found[0] if found and found[0].is_file() else None


def _beside(store: Store, export: Export) -> str:
    known = {run.name: run for run in runs.all_runs(store)}
    run = known.get(export.run)
    if run is None:
        return str(export.verification.get("base", ""))
    return str(Ref.run(run.name, export.step, export.verification.get("strength")))
