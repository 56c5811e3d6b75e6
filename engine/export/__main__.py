"""`python -m engine.export`: makes one request's exports and prints JSON lines, progress and results or one error.
Started by engine.export.service only; a person uses `tuningfork export`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from store.home import Home

_EVERY_S = 0.1


class _Lines:
    """Prints progress, at most ten lines a second; every new stage is said."""

    def __init__(self) -> None:
        self._last: tuple[tuple[str, str, str], float] = (("", "", ""), 0.0)

    def __call__(self, target: str, stage: str, text: str, done: int, total: int) -> None:
        what, at = (target, stage, text), time.monotonic()
        if what == self._last[0] and at - self._last[1] < _EVERY_S and done < total:
            return
        self._last = (what, at)
        say({"progress": {"target": target, "stage": stage, "text": text, "done": done, "total": total}})


def say(line: dict[str, Any]) -> None:
    """One JSON object on one line. A reader that is gone ends us as a cancel does."""
    try:
        print(json.dumps(line), flush=True)
    except BrokenPipeError:
        raise KeyboardInterrupt from None


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code of the process: 0 also when the error was told in a line."""
    parser = argparse.ArgumentParser(prog="python -m engine.export")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--request", required=True)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # raises KeyboardInterrupt: what was begun is taken away
    from engine.export.make import make
    from engine.export.request import Request
    from store.db import Store
    from store.errors import TuningforkError

    try:
        with Store.open(Home(options.home)) as store:
            for number in make(store, Request.from_json(json.loads(options.request)), _Lines()):
                say({"export": number})
    except TuningforkError as error:
        say(error.as_dict())
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        traceback.print_exc()
        say(
            {
                "error": "WorkerError",
                "what": f"The export failed: {type(error).__name__}: {error}",
                "where": "export.log",
            }
        )
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # native libraries' exit hooks must not hold up a process that is done
