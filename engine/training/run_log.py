"""The log file of a run's latest process, read as it grows.
Reads bytes and decodes them; who shows the text cleans it."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from store import runs
from store.db import Store
from store.errors import NotFound

MOST = 256_000
"""Bytes that a reader begins with at most: the end of the file."""


def latest(store: Store, name: str) -> Path:
    """The log of the latest process of a run. NotFound where the run, or its log, does not exist."""
    tried = runs.attempts(store, runs.get(store, name).id)
    path = store.home.absolute(tried[-1].log_path) if tried else None
    if path is None or not path.exists():
        raise NotFound(f"Run {name} has no log yet.", todo="A process writes one as soon as it starts.")
    return path


@dataclass(frozen=True, slots=True)
class LogPart:
    """What a look found. `fresh`: it is another file than before, or a shorter one: forget what was read of it.

    `left_out` counts the bytes at the start of the file that are not in `text`.
    """

    path: Path
    text: str
    fresh: bool
    left_out: int


class RunLogReader:
    """Follows the log of the run `name` over its processes."""

    def __init__(self, name: str, most: int = MOST) -> None:
        self._name, self._most = name, most
        self._path: Path | None = None
        self._at = self._left_out = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def more(self, store: Store) -> LogPart:
        """What was written since the last call. NotFound as of `latest`; OSError where the file cannot be read."""
        path = latest(store, self._name)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            fresh = path != self._path or size < self._at
            if fresh:
                self._path, self._at = path, max(0, size - self._most)
                self._decoder.reset()
                file.seek(self._at)
                if self._at:
                    self._at += len(file.readline())
                self._left_out = self._at
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        return LogPart(path, self._decoder.decode(data), fresh, self._left_out)
