"""A job whose request says what it does: `python -m tests.engine.fake_job --home DIR --token TOKEN`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from engine.core import jobs
from store.errors import Unsupported

MODULE = "tests.engine.fake_job"


def do(job: jobs.JobWork) -> dict[str, Any]:
    """`mode` is count, fail, break, die or sleep; `steps` how many; `marks` a folder for what was begun."""
    mode, steps = job.request["mode"], job.request.get("steps", 3)
    begun = Path(job.request["marks"], f"{job.job.id}.begun")
    begun.touch()
    try:
        for n in range(1, steps + 1):
            job.progress(n, steps, f"step {n}", part="a", stage="counting")
            if mode == "sleep":
                time.sleep(0.05)
        if mode == "stubborn":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            time.sleep(60)
        if mode == "fail":
            raise Unsupported("This model cannot do that.", where="there", todo="Take another.")
        if mode == "break":
            raise ZeroDivisionError("division by zero")
        if mode == "die":
            print("last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        job.say("It counted.")
    finally:
        begun.unlink()
    return {"counted": steps}


if __name__ == "__main__":
    sys.exit(jobs.main(do))
