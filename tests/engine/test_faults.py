"""What can go wrong with a worker, done for real: killed, paused, stuck, superseded, out of room.
No training and no torch in here."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from engine.core import process
from engine.core.files import is_disk_full
from engine.training import run_control
from engine.training.worker import error_messages, job_runner
from store import runs
from store.db import Store, now
from store.errors import Conflict, NoSpace, Superseded
from store.records import Attempt, Run
from tests.engine.test_jobs import Submit, ended, started, stepping, until
from tests.holding import release

pytestmark = pytest.mark.slow


def pause(store: Store, attempt: Attempt) -> None:
    """SIGSTOP a worker, never while it holds the store's write lock."""
    with store.write():
        os.kill(attempt.pid, signal.SIGSTOP)


@pytest.mark.parametrize(
    ("mode", "says", "code"),
    [
        ("error", r"row 3: The rows are of no use\.\n  Correct row 3\.\n  Log: ", "2"),
        ("crash", r"^RuntimeError: first line\n  Log: ", "1"),
        ("memory", r"ran out of memory.*\n.*batch_size", "1"),
        ("disk", r"disk is full.*\n.*resume", "1"),
        ("module", r"module no_such_module_here is missing.*\n.*make setup", "1"),
        ("exit", r"library ended the process \(exit code 3\)", "1"),
    ],
)
def test_a_failed_run_says_what_and_where(store: Store, submit: Submit, mode: str, says: str, code: str) -> None:
    name = submit(mode).name
    attempt = started(store, name)
    run = ended(store, name)
    assert run.state == "failed" and run.error is not None
    assert re.search(says, run.error), run.error
    log = store.home.absolute(attempt.log_path)
    assert run.error.endswith(f"Log: {log}") and log.stat().st_size > 0
    assert runs.attempts(store, run.id)[0].exit == code


def test_a_failed_run_can_be_resumed(store: Store, submit: Submit) -> None:
    name = submit("crash").name
    started(store, name)
    ended(store, name)
    attempt = run_control.resume(store, name)
    assert attempt is not None and (attempt.n, attempt.resume_from) == (2, None)


def test_a_killed_worker_is_lost_and_resumes_from_its_checkpoint(store: Store, submit: Submit) -> None:
    name = submit("hold=3", save_every=2).name
    attempt = started(store, name)
    until(lambda: runs.get(store, name).step >= 3)
    os.kill(attempt.pid, signal.SIGKILL)
    until(lambda: run_control.reap(store) == [name])
    run = runs.get(store, name)
    assert run.state == "lost" and "SIGKILL" in (run.error or "")
    assert run_control.reap(store) == [], "it is said once"
    saved = runs.checkpoints(store, run.id)[-1].step
    again = run_control.resume(store, name)
    assert again is not None and again.resume_from == saved == 2
    release(store, name, 3)
    assert ended(store, name).state == "succeeded"


def test_a_worker_that_vanishes_leaves_its_last_words(store: Store, submit: Submit) -> None:
    name = submit("vanish").name
    started(store, name)
    run = ended(store, name)
    assert run.state == "lost"
    assert "exit code 9" in (run.error or "") and "the last word" in (run.error or "")


def test_an_orphan_that_is_killed_is_lost(store: Store, submit: Submit) -> None:
    """The launcher is gone: nobody waits for the worker, and its pid is all there is."""
    name = submit("hold").name
    code = (
        "import sys; from pathlib import Path\n"
        "from engine.core import process; from engine.training import run_control;"
        "from store.db import Store; from store.home import Home\n"
        "from tests.engine import fake_worker; process.command = fake_worker.argv\n"
        "with Store.open(Home(Path(sys.argv[1]))) as store: run_control.start(store, sys.argv[2])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(store.home.root), name], check=True, env=process.environment())
    until(lambda: runs.get(store, name).step >= 1)
    attempt = runs.live_attempt(store, runs.get(store, name).id)
    assert attempt is not None and run_control.alive(attempt) and run_control.reap(store) == []
    os.kill(attempt.pid, signal.SIGKILL)
    until(lambda: run_control.reap(store) == [name])
    assert not run_control.alive(attempt)


def test_a_paused_worker_is_hung_not_lost(store: Store, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_control, "NO_BEAT_S", 1.0)
    name = submit("hold").name
    attempt = stepping(store, name)
    until(lambda: not run_control.status(store, name).hung)  # a busy machine delays beats, too
    pause(store, attempt)
    until(lambda: run_control.status(store, name).hung)
    assert run_control.reap(store) == [] and run_control.alive(attempt)
    os.kill(attempt.pid, signal.SIGCONT)
    release(store, name)
    assert ended(store, name).state == "succeeded"


def test_beats_without_steps_are_hung_too(store: Store, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_control, "HUNG_S", 0.3)
    name = submit("stuck").name
    started(store, name)
    until(lambda: runs.get(store, name).state == "running")
    until(lambda: run_control.status(store, name).hung)
    assert run_control.reap(store) == []


def test_holding_the_gil_loses_nothing(store: Store, submit: Submit) -> None:
    """Native code that keeps the GIL silences the heartbeat thread; the process is alive all the same."""
    name = submit("gil=4").name
    attempt = started(store, name)
    silence = 0
    while runs.get(store, name).state not in ("succeeded", "lost", "failed"):
        assert run_control.reap(store) == []
        live = runs.live_attempt(store, attempt.run_id)
        silence = max(silence, now() - live.heartbeat_at if live else 0)
        time.sleep(0.05)
    assert runs.get(store, name).state == "succeeded"
    assert silence > 1000, "the hold was real: no beat came for five times their usual distance"


def test_a_zombie_is_superseded_and_stops_at_once(store: Store, submit: Submit) -> None:
    name = submit("hold=1,3", save_every=1).name
    zombie = stepping(store, name)
    until(lambda: runs.checkpoints(store, zombie.run_id))
    pause(store, zombie)
    runs.mark_lost(store, zombie.id, "taken for dead")
    successor = run_control.resume(store, name)
    assert successor is not None and successor.resume_from == 1
    until(lambda: runs.get(store, name).step == 3)
    os.kill(zombie.pid, signal.SIGCONT)
    until(lambda: process.is_running(zombie.pid, zombie.pid_started) is False)
    assert process.how_it_ended(zombie.pid) == f"it ended with exit code {job_runner.SUPERSEDED}"
    assert runs.get(store, name).state == "running" and run_control.alive(successor)
    release(store, name, 3)
    assert ended(store, name).state == "succeeded"
    assert len(runs.attempts(store, successor.run_id)) == 2


def test_a_removed_run_ends_its_worker(store: Store, submit: Submit) -> None:
    name = submit("hold").name
    attempt = stepping(store, name)
    runs.mark_lost(store, attempt.id, "taken for dead")
    run_control.remove(store, name)
    until(lambda: process.is_running(attempt.pid, attempt.pid_started) is False)


def attempt_on(store: Store, run: Run, *, host: str, pid: int, started: float, silent_s: float) -> Attempt:
    opened = runs.open_attempt(store, run.id, host=host, pid=pid, pid_started=started, token="t", log_path="no.log")
    with store.write() as conn:
        conn.execute("UPDATE attempt SET heartbeat_at = ? WHERE id = ?", (now() - int(silent_s * 1000), opened.id))
    found = runs.live_attempt(store, run.id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("host", "shift_s", "silent_s", "lives"),
    [
        ("here", 0, 1e6, True),  # the process is there: silence is not death
        ("here", 3600, 1, True),  # the clock was set, and it still sends heartbeats
        ("here", 3600, 30, False),  # its pid belongs to another process now
        ("there", 0, 50, True),
        ("there", 0, 70, False),
    ],
)
def test_who_is_alive(store: Store, submit: Submit, host: str, shift_s: float, silent_s: float, lives: bool) -> None:
    run = submit("quick")
    began = (process.started_at(os.getpid()) or 0) + shift_s
    where = process.here() if host == "here" else "another-machine"
    attempt = attempt_on(store, run, host=where, pid=os.getpid(), started=began, silent_s=silent_s)
    assert run_control.alive(attempt) is lives
    assert run_control.reap(store) == ([] if lives else [run.name])


def test_another_programs_long_write_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def write(fails: int, error: Exception) -> None:
        tries.append(1)
        if len(tries) <= fails:
            raise Conflict("busy") from error

    monkeypatch.setattr(time, "sleep", lambda s: None)
    job_runner.patiently(write, 3, sqlite3.OperationalError("database is locked"))
    assert len(tries) == 4
    tries.clear()
    with pytest.raises(Conflict):
        job_runner.patiently(write, 1, ValueError("a conflict of another kind"))
    assert len(tries) == 1
    with pytest.raises(Superseded):
        job_runner.patiently(lambda: (_ for _ in ()).throw(Superseded("ended")))


def test_disk_trouble_is_seen_behind_other_errors() -> None:
    outer = RuntimeError("could not write the file")
    outer.__cause__ = NoSpace("full")
    assert is_disk_full(outer)
    assert is_disk_full(RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"))
    assert not is_disk_full(ValueError("no such thing"))


def test_memory_trouble_is_named() -> None:
    gpu = type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2 GiB")
    assert error_messages.is_out_of_memory(gpu) and error_messages.is_out_of_memory(MemoryError())
    assert not error_messages.is_out_of_memory(ValueError("out of memory of the past"))


def test_a_lost_process_is_named() -> None:
    gloo = RuntimeError("[gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:8090")
    nccl = type("DistBackendError", (RuntimeError,), {})("NCCL error: remote process exited")
    for error in (gloo, nccl):
        assert "lost another one of the run: it has ended." in error_messages.sentence(error)
    assert not error_messages.is_lost_process(RuntimeError("Connection closed by peer"))
