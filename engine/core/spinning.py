"""How long OpenMP threads spin while they wait: libgomp's threads, which torch and llama.cpp compute with.
Watches whether this process waits for a processor, and lets its threads spin only while it does not. No torch.

A team of OpenMP threads meets many times in every step, and libgomp lets a thread that waits for the others spin for
some hundred thousand rounds before it sleeps. While all cores are ours that is the fastest way to wait. Beside other
busy processes the spinning threads use up the time of the one thread that they wait for, and a run takes many times as
long. libgomp knows that case: while more of its threads exist than there are processors
(`gomp_managed_threads > gomp_available_cpus` in its wait.h), a thread spins for at most 1,000 rounds. `Spinning` makes
use of that: while the process has to wait for a processor, it keeps a team of idle threads that tips the balance.

Training and exports use it. The chat server does not: its own clients are enough to make it wait now and then, and
short spinning took a third of a lone lane's speed (126 tokens/s fell to 87 on two cores).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import psutil

from engine.core import process

LOOK_S = 0.5
"""Seconds between two looks at how long the process waited."""
BUSY_SHARE = 0.12
"""Waiting for a processor for this share of the time and of a thread, the machine counts as busy, if others compute."""
OTHERS_SHARE = 0.2
"""What all other processes must compute for that, in processors. Without it the process waits for its own threads: it
does so for a moment when a run begins, and on two cores short spinning until that was over took 7% of a short run."""
QUIET_LOOKS = 10
"""The machine counts as quiet again after so many looks in a row below half of that share."""
OFF = "TUNINGFORK_NO_SPIN_WATCH"
"""Environment variable that turns the watching off: for measurements of what it does."""


class Spinning:
    """Short spinning while the machine is busy, as a switch for every libgomp that this process has loaded."""

    def __init__(self, cores: int | None = None) -> None:
        self._cores = cores or process.cores()
        self._release: threading.Event | None = None
        self._helper: threading.Thread | None = None
        self._covered = 0

    @property
    def short(self) -> bool:
        """Whether threads spin for a short time only."""
        return self._release is not None

    def shorten(self) -> bool:
        """Spin for a short time from now on. False when this process has loaded no libgomp.

        May be called again: a libgomp that was loaded meanwhile is then included.
        """
        libraries = _libraries()
        if not libraries:
            return False
        if len(libraries) == self._covered:
            return True
        self.restore()
        self._covered = len(libraries)
        ready, release = threading.Event(), threading.Event()
        self._helper = threading.Thread(
            target=_keep_a_team, args=(libraries, self._cores + 1, ready, release), name="openmp-team", daemon=True
        )
        self._helper.start()
        ready.wait()
        self._release = release
        return True

    def restore(self) -> None:
        """Spin as libgomp does by itself."""
        if self._release is not None and self._helper is not None:
            self._release.set()
            self._helper.join()  # its threads end with it
            self._release = self._helper = None
            self._covered = 0


@contextlib.contextmanager
def polite(cores: int | None = None) -> Iterator[Spinning]:
    """While inside, a thread watches this process and shortens the spinning whenever the machine is busy."""
    spinning, done = Spinning(cores), threading.Event()
    thread = threading.Thread(target=_watch, args=(spinning, done), name="spinning", daemon=True)
    thread.start()
    try:
        yield spinning
    finally:
        done.set()
        thread.join()
        spinning.restore()


def _watch(spinning: Spinning, done: threading.Event) -> None:
    quiet, before, at = 0, _times(), monotonic()
    while before is not None and not os.environ.get(OFF) and not done.wait(LOOK_S):
        after, now = _times(), monotonic()
        if after is None:
            return
        waiting, others = ((new - old) / (now - at) for new, old in zip(after, before, strict=True))
        before, at = after, now
        if waiting > BUSY_SHARE and others > OTHERS_SHARE:
            quiet = 0
            spinning.shorten()
        elif spinning.short and (waiting < BUSY_SHARE / 2 or others < OTHERS_SHARE / 2):
            quiet += 1
            if quiet >= QUIET_LOOKS:
                quiet = 0
                spinning.restore()


def _times() -> tuple[float, float] | None:
    """Seconds that this process waited for a processor, and seconds that other processes computed; None where the
    system does not keep the first."""
    waited = _waited_s()
    return None if waited is None else (waited, _others_s())


def _others_s() -> float:
    """Seconds that the machine's processors computed for others than this process, since some moment."""
    machine, mine = psutil.cpu_times()._asdict(), os.times()
    idle = ("idle", "iowait", "guest", "guest_nice")  # a guest's time is in the user's as well
    return sum(s for name, s in machine.items() if name not in idle) - mine.user - mine.system


def _waited_s() -> float | None:
    """Seconds that the process's threads were ready to run and had no processor, all threads together; None where
    the system does not keep that (https://docs.kernel.org/scheduler/sched-stats.html)."""
    total, known = 0, False
    for task in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # a thread may have ended meanwhile
            total += int(task.read_text("ascii").split()[1])
            known = True
    return total / 1e9 if known else None


def _libraries() -> list[ctypes.CDLL]:
    """Every libgomp that is loaded: torch brings its own, llama.cpp uses the system's."""
    try:
        maps = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in maps if "libgomp" in line and line.count("/")}
    found = []
    for path in sorted(paths):
        with contextlib.suppress(OSError):
            found.append(ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD))
    return [library for library in found if hasattr(library, "GOMP_parallel")]


def _keep_a_team(libraries: list[ctypes.CDLL], threads: int, ready: threading.Event, release: threading.Event) -> None:
    """Start a team of `threads` threads in each library, and keep them asleep until `release`."""
    try:
        for library in libraries:
            nothing = ctypes.cast(library.omp_get_thread_num, ctypes.c_void_p)  # any function that does nothing
            library.GOMP_parallel(nothing, None, ctypes.c_uint(threads), ctypes.c_uint(0))
    finally:
        ready.set()
    release.wait()
