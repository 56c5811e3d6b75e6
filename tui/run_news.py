"""Watches runs and other jobs for the whole app, whatever screen is shown: marks dead ones, and notifies when one ends.
Notifies; decides nothing."""

from __future__ import annotations

from store import jobs, runs
from store.db import Store, now
from store.errors import TuningforkError
from store.records import LIVE_STATES, Export, Job, Run
from tui import attention, formatting
from tui.export_summary import model_name, title
from tui.services import AppServices

LOOK_S = 2.0


class RunNews:
    """Lives as long as the app."""

    def __init__(self, app: AppServices) -> None:
        self._app = app
        self._live_runs: set[int] = set()
        self._since = now()
        self._told: set[int] = set()
        self._first = True

    async def look(self) -> None:
        """Compare runs and jobs with those of the last look. The app calls it whenever one of them changed."""
        every = await self._app.bridge.call(runs.all_runs)
        live = {run.id for run in every if run.state in (*LIVE_STATES, "queued")}
        ended = [job for job in await self._app.bridge.call(jobs.all_jobs) if (job.ended_at or 0) >= self._since]
        if not self._first:
            for run in every:
                if run.id in self._live_runs - live:
                    self._run_ended(run)
        self._first = False
        self._live_runs = live
        for job in reversed(ended):  # by time: a job may have begun and ended between two looks
            if job.id not in self._told:
                await self._job_ended(job.id)

    def _run_ended(self, run: Run) -> None:
        """One notice for an end, with the key for what comes next."""
        attention.call(self._app, f"Run {run.name}: {run.state}", self._app.settings.when_done)
        if run.state == "succeeded":
            text = f"{run.step} steps. F3, then o, compares it with its base."
            self._app.notify(text, title=f"{run.name} is done", timeout=15)
        elif run.state == "stopped":
            self._app.notify("F3, then r resumes it.", title=f"{run.name} has stopped")
        else:
            first = (run.error or "It gave no reason.").splitlines()[0]
            self._app.notify(
                f"{first} F3 shows its log.", title=f"{run.name}: {run.state}", severity="error", timeout=15
            )

    async def _job_ended(self, number: int) -> None:
        job, made = await self._app.bridge.call(_end, number)
        watched = getattr(self._app, "screen", None)
        shown = await getattr(watched, "job_ended", _nobody)(job, made)
        self._told.add(number)  # not before: a look that is cut short by the next one is done again
        attention.call(self._app, f"{job.kind.capitalize()} {job.name}: {job.state}", self._app.settings.when_done)
        if shown:
            return
        what = f"{job.kind.capitalize()} {job.name}"
        if job.state == "stopped":
            self._app.notify("It was cancelled; nothing of it is left.", title=what)
        elif job.state != "succeeded":
            reason = str((job.error or {}).get("what") or "It gave no reason.")
            self._app.notify(reason, title=f"{what}: {job.state}", severity="error", timeout=15)
        for export in made:
            self._export_ended(export)

    def _export_ended(self, export: Export) -> None:
        name = f"{model_name(export)}  {title(export)}"
        if export.state == "done":
            passed = " It passed its verification." if export.verification.get("checks") else ""
            self._app.notify(f"{formatting.size(export.bytes or 0)}.{passed}", title=f"{name} is done")
        else:
            reason = (export.error or "It failed its verification.").splitlines()[0]
            self._app.notify(reason, title=f"{name}: {export.state}", severity="error", timeout=15)

    async def reap(self) -> None:
        """Mark runs and jobs whose process died. The app calls it every LOOK_S seconds."""
        live = self._app.live
        if not (live.runs or live.queued or live.jobs):
            return
        try:
            await self._app.bridge.call(_reap)
        except TuningforkError as error:
            self._app.notify_error(error)


def _reap(store: Store) -> None:
    from engine import job_list  # not before there is a job: the first picture comes sooner

    job_list.reap(store)


def _end(store: Store, number: int) -> tuple[Job, list[Export]]:
    from engine.export import service

    job = jobs.get(store, number)
    return job, service.made(store, job)


async def _nobody(job: Job, made: list[Export]) -> bool:
    """The screen that is shown does not show this job itself."""
    return False
