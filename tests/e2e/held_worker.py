"""The real training process, except that it waits for the test after the steps in HOLD_AT (see tests.holding)."""

from __future__ import annotations

import os
import sys

from engine.core import process
from engine.training.worker import __main__ as command
from engine.training.worker import job_runner
from store import runs
from tests import holding


def argv(*arguments: str) -> list[str]:
    """Stands in for engine.core.process.command."""
    return [sys.executable, "-m", "tests.e2e.held_worker", *arguments]


class HeldReporter(job_runner.StoreReporter):
    """Holds after the loss of a step is reported. A stop meanwhile is followed at the end of the next step."""

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        super().metrics(step, values)
        if "loss" in values and step in holding.steps_of(os.environ.get(holding.AT, "")):
            out = self._store.home.run_dir(runs.by_id(self._store, self._run_id).uid)
            holding.hold(self, out, step)


def main() -> int:
    process.command = argv  # the next run in the queue is started from here
    job_runner.StoreReporter = HeldReporter  # type: ignore[misc]
    return command.main()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
