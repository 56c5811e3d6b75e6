"""Exports as the screens and the command line ask for them: submitted as a background job, followed, cancelled.
Light: the work (numpy, llama.cpp, verification) happens in `python -m engine.export`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.core import jobs
from engine.export import listing, planning
from engine.export.planning import Planned, Selection
from engine.export.request import Request, Target
from store import exports
from store import jobs as kept
from store.db import Store
from store.errors import Conflict
from store.records import Export, Job

__all__ = [
    "KIND",
    "Planned",
    "Request",
    "Selection",
    "Target",
    "cancel",
    "export",
    "follow",
    "made",
    "running",
    "submit",
]

KIND = "export"
MODULE = "engine.export"


def submit(store: Store, request: Request, chosen: Selection | None = None) -> Job:
    """Start a job that makes the request's targets, or queue it behind another export. `chosen` is the run's selection,
    if it is known: the step is settled here, whatever the run does meanwhile.

    Raises BadInput (also for probes that only a model can judge), Conflict (a target exists and `overwrite` is off),
    NoSpace, Unsupported or NotFound before anything is written.
    """
    listing.sweep(store)
    request = replace(request, out=_absolute(request.out), probes=_absolute(request.probes))
    if request.probes is not None:
        from engine.evaluation import probes

        probes.load(request.probes)
    chosen = chosen or planning.select(store, request.run)
    planning.check(planning.plan(store, request, chosen), overwrite=request.overwrite)
    body = {"export": request.to_json(), "step": chosen.step, "why": chosen.why, "strength": chosen.strength}
    return jobs.submit(store, KIND, chosen.run.name, MODULE, body)


def follow(store: Store, job_id: int, on_progress: Callable[[Job], None] | None = None) -> list[Export]:
    """Watch an export's job to its end; returns its exports in their end state: done, or rejected when the verification
    failed. Raises the error that it ended with; Conflict when it was cancelled. An interrupt leaves the job alone."""
    job = jobs.follow(store, job_id, on_progress)
    listing.sweep(store)
    if job.state == "stopped":
        raise Conflict("The export was cancelled; nothing of it is left.", todo="Start it again when you like.")
    jobs.raise_error(job)
    return made(store, job)


def export(store: Store, request: Request, on_progress: Callable[[Job], None] | None = None) -> list[Export]:
    """`submit` and `follow`: blocks until the targets are made."""
    return follow(store, submit(store, request).id, on_progress)


def cancel(store: Store, job_id: int) -> Job:
    """Stop an export's job and remove what it began; blocks until it has ended. Conflict when it had."""
    job = jobs.stop(store, job_id)
    listing.sweep(store)
    return job


def made(store: Store, job: Job) -> list[Export]:
    """The exports that a job has finished and that are still there."""
    there = {export.id: export for export in exports.all_exports(store)}
    return [there[number] for number in job.result.get("exports", []) if number in there]


def running(store: Store) -> list[Job]:
    """The jobs of exports that have not ended, oldest first."""
    return kept.unfinished(store, KIND)


def _absolute(path: Path | None) -> Path | None:
    """A path as it was meant where it was typed: the job runs elsewhere. `-` stays, for planning to refuse."""
    return path if path is None or str(path) == "-" else path.expanduser().absolute()
