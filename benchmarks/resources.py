"""What commands cost: seconds, peak memory of all their processes together, and peak disk use while they run."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from engine.core import process

_EVERY_S, _WATCH_EVERY_S = 0.1, 0.25


@dataclass(frozen=True, slots=True)
class Cost:
    """Of commands run one after the other. `extra_mb`: the most disk they took beyond the file they were to make."""

    seconds: float
    memory_mb: float
    extra_mb: float


def measure(
    commands: Sequence[Sequence[str]], place: Path, made: Path, environment: Mapping[str, str] | None = None
) -> Cost:
    """Run the commands, which write below `place` only and leave the file `made`. RuntimeError when one fails."""
    environment = environment or process.environment()
    before = used(place)
    memory = disk = 0
    began = time.perf_counter()
    for argv in commands:
        with tempfile.TemporaryFile() as said:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, cwd=place
            )
            while not _ended(child):
                memory, disk = max(memory, resident(child.pid)), max(disk, used(place))
            if child.returncode:
                said.seek(0)
                raise RuntimeError(f"{argv!r}: {said.read().decode(errors='replace')[-2000:]}")
    seconds = time.perf_counter() - began
    disk = max(disk, used(place))
    return Cost(seconds, memory / 1e6, (disk - before - made.stat().st_size) / 1e6)


def _ended(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(_EVERY_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def resident(pid: int) -> int:
    """Bytes of memory of a process and all below it: proportional shares where the system tells them, mapped files
    included; 0 for one that is gone."""
    total = 0
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.Error:
        return 0
    for each in family:
        try:
            memory = each.memory_full_info()
        except psutil.Error:
            continue  # it has ended meanwhile
        total += getattr(memory, "pss", memory.rss)
    return total


def used(place: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for path in place.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except OSError:
            continue  # it was taken away meanwhile
    return total


class Watch:
    """The most memory that a process and all below it have while `with` lasts; `peak_mb` afterwards."""

    def __init__(self, pid: int) -> None:
        self._pid, self._ended, self.peak_mb = pid, threading.Event(), 0.0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_WATCH_EVERY_S):
            self.peak_mb = max(self.peak_mb, resident(self._pid) / 1e6)
