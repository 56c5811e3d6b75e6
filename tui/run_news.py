"""Watches runs for the whole app, whatever screen is shown: buries dead ones and tells when one has ended.
Says what happened; decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.training import run_control
from store import runs
from store.db import Store
from store.errors import TuningforkError
from store.records import LIVE_STATES, Run

if TYPE_CHECKING:
    from tui.app import TuningforkApp

LOOK_S = 2.0


class RunNews:
    """Lives as long as the app."""

    def __init__(self, app: TuningforkApp) -> None:
        self._app = app
        self._live: set[int] = set()
        self._first = True
        app.runs_changed.subscribe(app, lambda _: self._look())
        app.set_interval(LOOK_S, self._bury)

    def _look(self) -> None:
        self._app.run_worker(self._compare(), group="run news", exclusive=True)

    async def _compare(self) -> None:
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
            self._app.tell(text, title=f"{run.name} is done", timeout=15)
        elif run.state == "stopped":
            self._app.tell("F3, then r takes it up again.", title=f"{run.name} has stopped")
        else:
            first = (run.error or "It gave no reason.").splitlines()[0]
            self._app.tell(f"{first} F3 shows its log.", title=f"{run.name}: {run.state}", severity="error", timeout=15)

    def _bury(self) -> None:
        if self._app.live.runs or self._app.live.queued:
            self._app.run_worker(self._reap(), group="reap", exclusive=True)

    async def _reap(self) -> None:
        try:
            await self._app.bridge.call(_reap)
        except TuningforkError as error:
            self._app.tell_error(error)


def _reap(store: Store) -> None:
    run_control.reap(store)
