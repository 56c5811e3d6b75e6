"""Short spinning: libgomp's own counter tips, the watcher sees waiting, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.core import spinning
from engine.core.spinning import Spinning, polite

_LINUX = Path("/proc/self/schedstat").is_file()
pytestmark = pytest.mark.skipif(not _LINUX, reason="needs Linux's scheduler statistics")


def run(code: str) -> str:
    """What a fresh interpreter prints: a libgomp that is loaded stays loaded."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOADED = "import llama_cpp\n"  # llama.cpp computes with the system's libgomp
THREADS = """
import os, time
threads = lambda: len(os.listdir('/proc/self/task'))
def settled(wanted):  # a thread that ends is listed for a moment longer
    until = time.monotonic() + 20
    while threads() - before != wanted and time.monotonic() < until:
        time.sleep(0.02)
    return threads() - before
"""


def test_without_libgomp_there_is_nothing_to_do() -> None:
    assert (
        run("from engine.core.spinning import Spinning; s = Spinning(); print(s.shorten(), s.short)") == "False False"
    )


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_more_threads_than_cores_exist_while_it_is_short_and_none_afterwards(cores: int) -> None:
    code = (
        LOADED + THREADS + "from engine.core.spinning import Spinning\n"
        f"s, before = Spinning({cores}), threads()\n"
        f"a = s.shorten() and s.shorten()\nduring = settled({cores} + 1)\ns.restore()\ns.restore()\n"
        "print(a, during, settled(0), s.short)"
    )
    assert run(code) == f"True {cores + 1} 0 False"


def test_a_library_that_is_loaded_later_is_included() -> None:
    code = (
        LOADED + THREADS + "from engine.core import spinning\n"
        "s, before = spinning.Spinning(2), threads()\nboth = spinning._libraries\n"
        "s.shorten(); one = threads() - before\n"
        "import shutil, ctypes, tempfile, os\n"
        "path = next(l.split()[-1] for l in open('/proc/self/maps') if 'libgomp' in l)\n"
        "copy = os.path.join(tempfile.mkdtemp(), 'libgomp-copy.so.1'); shutil.copyfile(path, copy); ctypes.CDLL(copy)\n"
        "s.shorten(); two = settled(5)\ns.restore()\nprint(one, two)"
    )
    assert run(code) == "3 5", "a team of three each, whose first thread is the same"


def test_the_watcher_shortens_while_the_process_waits_and_restores_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    waiting, others = threading.Event(), threading.Event()
    times = [0.0, 0.0]

    def told() -> tuple[float, float]:
        for place, event in enumerate((waiting, others)):
            times[place] += 5.0 if event.is_set() else 0.0  # more than anything between two looks
        return times[0], times[1]

    class Switch(Spinning):
        _on = False

        @property
        def short(self) -> bool:
            return self._on

        def shorten(self) -> bool:
            seen.extend([] if self._on else ["short"])
            self._on = True
            return True

        def restore(self) -> None:
            seen.extend(["long"] if self._on else [])
            self._on = False

    monkeypatch.setattr(spinning, "_times", told)
    monkeypatch.setattr(spinning, "LOOK_S", 0.02)
    monkeypatch.setattr(spinning, "Spinning", Switch)

    def until(wanted: list[str]) -> None:
        limit = time.monotonic() + 20
        while seen != wanted and time.monotonic() < limit:
            time.sleep(0.01)
        assert seen == wanted

    with polite():
        time.sleep(0.2)
        waiting.set()
        time.sleep(0.2)
        assert seen == [], "it waits for its own threads"
        others.set()
        until(["short"])
        time.sleep(0.2)
        assert seen == ["short"]
        waiting.clear()
        until(["short", "long"])
        waiting.set()
        until(["short", "long", "short"])
        others.clear()
        until(["short", "long", "short", "long"])
        others.set()
        until(["short", "long", "short", "long", "short"])
    assert seen[-1] == "long", "it is restored at the end"


def test_waiting_is_measured_and_grows_beside_busy_processes() -> None:
    code = (
        "import os, subprocess, sys, time\nfrom engine.core import process, spinning\n"
        "many = process.cores() * 3\n"
        "others = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(many)]\n"
        "try:\n"
        "    time.sleep(0.3); before, at = spinning._times(), time.monotonic()\n"
        "    while time.monotonic() - at < 1.5: pass\n"
        "    waited, theirs = ((b - a) / (time.monotonic() - at) for a, b in zip(before, spinning._times()))\n"
        "finally:\n"
        "    [other.kill() for other in others]\n"
        "print(waited > spinning.BUSY_SHARE, theirs > spinning.OTHERS_SHARE)"
    )
    assert run(code) == "True True"


def test_what_this_process_computes_is_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 17 seconds that two processors computed, 4 were this process's; a guest's are the user's as well."""
    machine = SimpleNamespace(_asdict=lambda: {"user": 10, "system": 6, "steal": 1, "idle": 50, "guest": 4})
    monkeypatch.setattr(spinning.psutil, "cpu_times", lambda: machine)
    monkeypatch.setattr(spinning.os, "times", lambda: SimpleNamespace(user=3, system=1))
    assert spinning._others_s() == 13


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(spinning.OFF, "1")
    with polite() as watched:
        assert not watched.short
