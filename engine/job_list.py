"""Everything long in one list, whatever keeps it: training runs as store.runs has them, other jobs as store.jobs does.
A view only; what a run or a job is stays with its own module."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.core import jobs
from engine.export import listing
from engine.models.refs import Ref
from engine.training import run_control
from store import jobs as kept
from store import runs
from store.db import Store
from store.errors import NotFound
from store.records import END_STATES, Job, JobEvent, JobProgress, Run, RunState

TRAINING = "training"


@dataclass(frozen=True, slots=True)
class JobView:
    """A job or a run. `ref` is what the commands take: a job's number, or run:NAME. `error` is one line, or None."""

    ref: str
    kind: str
    name: str
    state: RunState
    progress: JobProgress
    error: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None

    @property
    def is_over(self) -> bool:
        return self.state in END_STATES


def listed(store: Store, limit: int = 50) -> list[JobView]:
    """The newest jobs and runs, newest first."""
    views = [of_job(job) for job in kept.all_jobs(store, limit)] + [of_run(run) for run in runs.all_runs(store)]
    return sorted(views, key=lambda view: -view.created_at)[:limit]


def unfinished(store: Store) -> list[JobView]:
    """What runs or waits, oldest first."""
    live = [of_run(run) for run in runs.all_runs(store) if run.state not in END_STATES]
    return sorted([*live, *map(of_job, kept.unfinished(store))], key=lambda view: view.created_at)


def find(store: Store, ref: str) -> JobView:
    """The job of this number, or the run of this name (with or without `run:`). NotFound when there is none."""
    if ref.isascii() and ref.isdigit():
        return of_job(kept.get(store, int(ref)))
    named = Ref.read(ref)
    return of_run(runs.get(store, named.value if named.is_run else ref))


def reap(store: Store) -> list[JobView]:
    """End what has no process any more, clean up after it and keep the queues going; returns what ended."""
    ended = [of_run(runs.get(store, name)) for name in run_control.reap(store)]
    dead = jobs.reap(store)
    if dead:
        listing.sweep(store)
    return ended + [of_job(job) for job in dead]


def stop(store: Store, ref: str, *, now: bool = False) -> JobView:
    """Stop a job or a run. A run saves a checkpoint first, and may take a step's time after this returns; a job undoes
    what it began, and this waits for it. With `now` it is killed. Conflict when it has ended."""
    view = find(store, ref)
    if view.kind == TRAINING:
        run_control.stop(store, view.name, now=now)
    else:
        jobs.stop(store, int(view.ref), now=now)
        listing.sweep(store)
    return find(store, ref)


def watch(
    store: Store,
    ref: str,
    on_change: Callable[[JobView], None] | None = None,
    on_event: Callable[[str, str], None] | None = None,
    poll_s: float = 0.2,
) -> JobView:
    """Follow a job or a run to its end, from any process; returns its end. Interrupting this leaves it alone.

    `on_change` gets the view whenever it has changed; `on_event` the level and text of every event, also earlier ones.
    """
    view = find(store, ref)
    if view.kind != TRAINING:

        def told(event: JobEvent) -> None:
            if on_event is not None:
                on_event(event.level, event.text)

        jobs.follow(store, int(view.ref), lambda job: on_change and on_change(of_job(job)), told, poll_s)
        listing.sweep(store)
        return find(store, ref)
    run_id, seen_event, seen = runs.get(store, view.name).id, 0, None
    while True:
        reap(store)
        try:
            view = of_run(runs.by_id(store, run_id))
        except NotFound:
            return view
        for event in runs.events(store, run_id, after_id=seen_event):
            if on_event is not None:
                on_event(event.level, str(event.body.get("text", event.kind)))
            seen_event = event.id
        if on_change is not None and view != seen:
            on_change(view)
        seen = view
        if view.is_over:
            return view
        time.sleep(poll_s)


def of_run(run: Run) -> JobView:
    """A training run as a job."""
    progress = JobProgress(stage="training", done=run.step, total=run.total_steps or 0)
    error = run.error.splitlines()[0] if run.error else None
    return JobView(
        str(Ref.run(run.name)),
        TRAINING,
        run.name,
        run.state,
        progress,
        error,
        run.created_at,
        run.started_at,
        run.ended_at,
    )


def of_job(job: Job) -> JobView:
    error = str(job.error.get("what") or "") if job.error else None
    return JobView(
        str(job.id), job.kind, job.name, job.state, job.progress, error, job.created_at, job.started_at, job.ended_at
    )
