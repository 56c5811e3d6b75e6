"""Processes that outlive the terminal: starting one, telling whether it lives, ending it.
Knows nothing of runs or the store; jobs.py and the training runs say what a process is for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_INIT_PID_NAMESPACE = "pid:[4026531836]"  # the kernel's fixed number for the machine's own namespace
SILENT_S = 10.0
"""Silence in seconds after which a process whose pid may belong to another one counts as dead."""
SILENT_ELSEWHERE_S = 60.0
"""Silence after which a process on another host counts as dead: its heartbeat is all that can be seen of it."""
_START_SLACK_S = 1.0  # clock ticks, rounding
_children: dict[int, subprocess.Popen[bytes]] = {}


def here() -> str:
    """The name under which a pid means anything: the host, and the PID namespace when this is a container."""
    host = socket.gethostname()
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
        return host if namespace == _INIT_PID_NAMESPACE else f"{host}/{namespace}"
    return host


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(threads: int | None = None, *, offline: bool = True) -> dict[str, str]:
    """Environment of a worker: no telemetry, no surprise downloads, no more threads than it may have.

    CUDA_VISIBLE_DEVICES is left as the user set it. `offline` False leaves the user's own choice about the hub.
    """
    count = str(threads or cores())
    env = os.environ | {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "PYTHONUNBUFFERED": "1",
        # the worker must run this very code, also from a checkout that is not installed
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_root()), os.environ.get("PYTHONPATH")))),
    }
    return env | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if offline else env


def command(*arguments: str) -> list[str]:
    """Command line of `python -m engine.training.worker ARGUMENTS` under this interpreter."""
    return module_command("engine.training.worker", *arguments)


def module_command(module: str, *arguments: str) -> list[str]:
    """Command line of `python -m MODULE ARGUMENTS` under this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def spawn(argv: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]) -> tuple[int, float]:
    """Start a detached process: a session of its own, no stdin, output appended to `log` (mode 0600).

    Returns its pid and start time (seconds since the epoch). OSError when it cannot be started.
    """
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
    finally:
        os.close(output)
    _children[child.pid] = child
    return child.pid, started_at(child.pid) or 0.0


def started_at(pid: int) -> float | None:
    """Start time of a process, seconds since the epoch; None when there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def children_of(pid: int) -> frozenset[int]:
    """The processes that a process has started and that have not ended; none where it is gone itself."""
    found = set()
    with contextlib.suppress(psutil.Error):
        for each in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if each.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                    found.add(each.pid)
    return frozenset(found)


def is_running(pid: int, started: float) -> bool | None:
    """Whether the process that started then still runs: True, False, or None when that is not known.

    None: the pid has another start time, so either it was reused or the system clock was set; a heartbeat shows which.
    """
    child = _children.get(pid)
    if child is not None and child.poll() is not None:  # poll also reaps our own zombie
        return False
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
        return True if abs(process.create_time() - started) <= _START_SLACK_S else None
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None


def how_it_ended(pid: int) -> str | None:
    """What the exit status of an ended child says; None for a process that is not our child."""
    child = _children.get(pid)
    if child is None:
        return None
    try:
        code = child.wait(1.0)  # after a kill, some threads may take a moment to end
    except subprocess.TimeoutExpired:
        return None
    if code == -signal.SIGKILL:
        return "it was killed (SIGKILL); often this means that the machine ran out of memory"
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with exit code {code}"


def cause_of_death(host: str, pid: int, started: float, silent_s: float) -> str | None:
    """Why a process counts as dead, as the end of a sentence; None while it lives. `silent_s` is the time in seconds
    since its last heartbeat: all that can be seen of a process on another host, or of one whose pid may be reused."""
    if host != here():
        return f"nothing was heard from {host} for {silent_s:.0f} s" if silent_s > SILENT_ELSEWHERE_S else None
    running = is_running(pid, started)
    if running or (running is None and silent_s <= SILENT_S):
        return None
    return how_it_ended(pid) or f"process {pid} is gone"


def kill_group(pid: int, started: float, wait_s: float = 5.0) -> bool:
    """Kill a detached process and all that it started, at once. True when it is gone within `wait_s` seconds.

    Does nothing (and says True) when the pid is no longer that process. Never touches the caller's own group.
    """
    if not is_running(pid, started):
        return True
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid != os.getpgrp():  # spawn made it the leader of its group
            os.killpg(pid, signal.SIGKILL)
    child = _children.get(pid)
    with contextlib.suppress(psutil.Error, subprocess.TimeoutExpired):
        if child is not None:
            child.wait(wait_s)
        else:
            psutil.Process(pid).wait(wait_s)
    return not is_running(pid, started)


def last_line(log: Path, limit: int = 300) -> str:
    """The last line that is not empty of a log file, cut to `limit` characters; '' when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:limit] for line in reversed(lines) if line.strip()), "")


def _root() -> Path:
    return Path(__file__).resolve().parents[2]
