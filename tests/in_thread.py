"""Background jobs in threads of the test's own process, so that a test can break, fake or add to what they do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.core import jobs, process
from store.home import Home

Do = Callable[[jobs.JobWork], Mapping[str, Any]]


def install(monkeypatch: pytest.MonkeyPatch, module: str, do: Do) -> list[threading.Thread]:
    """Jobs of `module` run `do` in a thread from now on; other processes start as ever. Returns the threads."""
    real, threads = process.spawn, list[threading.Thread]()
    started = psutil.Process().create_time()

    def spawn(argv: Sequence[str], **where: Any) -> tuple[int, float]:
        if module not in argv:
            return real(argv, **where)
        home, token = Path(argv[argv.index("--home") + 1]), argv[argv.index("--token") + 1]
        thread = threading.Thread(target=jobs.work, args=(Home(home), token, do), daemon=True)
        threads.append(thread)
        thread.start()
        return os.getpid(), started

    monkeypatch.setattr(process, "spawn", spawn)
    return threads


def join(threads: list[threading.Thread], timeout_s: float = 10) -> None:
    """Wait for what was started: a job that is left would write into the next test's store."""
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
