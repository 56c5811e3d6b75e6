"""Watches runs for the whole app, whatever screen is shown: buries dead ones and tells when one has ended.
Says what happened; decides nothing."""

from __future__ import annotations

from engine.training import run_control
from store import runs
from store.db import Store
from store.errors import TuningforkError
from store.records import LIVE_STATES, Run
from tui.services import AppServices

LOOK_S = 2.0


class RunNews:
    """Lives as long as the app."""

    def __init__(self, app: AppServices) -> None:
        self._app = app
        self._live: set[int] = set()
        self._first = True

    async def look(self) -> None:
        """Compare the runs with those of the last look. The app calls it whenever runs changed."""
        every = await self._app.bridge.call(runs.all_runs)
        live = {run.id for run in every if run.state in (*LIVE_STATES, "queued")}
        if not self._first:
            for run in every:
                if run.id in self._live - live:
                    self._tell(run)
        self._first = False
        self._live = live

    def _tell(self, run: Run) -> None:
        """One notice for an end; what follows is a key away."""
        if run.state == "succeeded":
            text = f"{run.step} steps. F3, then c, compares it with its base."
            self._app.notify(text, title=f"{run.name} is done", timeout=15)
        elif run.state == "stopped":
            self._app.notify("F3, then r takes it up again.", title=f"{run.name} has stopped")
        else:
            first = (run.error or "It gave no reason.").splitlines()[0]
            self._app.notify(
                f"{first} F3 shows its log.", title=f"{run.name}: {run.state}", severity="error", timeout=15
            )

    async def reap(self) -> None:
        """Mark runs whose process died. The app calls it every LOOK_S seconds."""
        if not (self._app.live.runs or self._app.live.queued):
            return
        try:
            await self._app.bridge.call(_reap)
        except TuningforkError as error:
            self._app.notify_error(error)


def _reap(store: Store) -> None:
    run_control.reap(store)
