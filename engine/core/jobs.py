"""Long work in processes that outlive the terminal: submit, queue, watch, stop; and the worker's side, `work`.

A job is a row of the store and a detached `python -m MODULE --home DIR --token TOKEN`. One job of a kind runs at a
time, the others wait in the queue. A kind of job is a module whose `main` calls `main` here with what it does; nothing
here knows any kind. Training runs have a queue of their own (engine.training.run_control).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.core import process
from engine.core.files import is_disk_full
from store import errors, jobs
from store.db import Store, now
from store.errors import Conflict, NoSpace, Superseded, TuningforkError, WorkerError
from store.home import Home
from store.records import END_STATES, Job, JobEvent, JobProgress, RunState, Wanted

BEAT_S = 2.0
LISTEN_S = 0.25
"""How often a job's process looks whether it should stop: a read, so it may be often."""
PROGRESS_S = 0.2
"""The shortest time between two progress writes; a new part or stage is written at once."""
GRACE_S = 10.0
"""How long a job that was asked to stop may take to undo what it began before it is killed."""
SUPERSEDED = 75
"""Exit code of a process whose job has ended."""

# ---------------------------------------------------------------- submitting, watching, stopping


def submit(store: Store, kind: str, name: str, module: str, request: Mapping[str, Any]) -> Job:
    """Queue a job and start it, unless one of its kind runs: then it waits. Refuse what cannot be done before this.

    Raises NoSpace or WorkerError when its process cannot be started; then the job is kept as failed.
    """
    reap(store)
    job = jobs.create(store, kind=kind, name=name, module=module, request=request)
    start_next(store, kind)
    return jobs.get(store, job.id)


def start_next(store: Store, kind: str) -> Job | None:
    """Start the job of a kind that has waited longest, unless one runs. Callers may race: one wins, others get None."""
    if jobs.next_queued(store, kind) is None:
        return None
    with store.write():
        job = jobs.next_queued(store, kind)
        if job is None:
            return None
        try:
            _launch(store, job)
            return jobs.get(store, job.id)
        except TuningforkError as error:
            failure = error
            jobs.mark_ended(store, job.id, "failed", error.as_dict())
    raise failure


def _launch(store: Store, job: Job) -> None:
    """Start the process in the caller's transaction: its claim waits for that, so it finds its row complete."""
    log = store.home.logs / f"job-{job.id}.log"
    try:
        pid, started = process.spawn(
            process.module_command(job.module, "--home", str(store.home.root), "--token", job.token),
            log=log,
            cwd=store.home.root,
            env=process.environment(offline=False),
        )
    except OSError as error:
        if is_disk_full(error):
            raise NoSpace("The disk is full.", where=str(log.parent), todo="Free some space and try again.") from error
        raise WorkerError(f"The process cannot be started: {error.strerror}.", where=str(log.parent)) from error
    jobs.set_process(
        store, job.id, host=process.here(), pid=pid, pid_started=started, log_path=store.home.relative(log)
    )


def reap(store: Store) -> list[Job]:
    """End the jobs whose process is gone, and keep the queues going; returns those that ended. Every poll calls it.

    They are lost, or stopped when that was wanted of them.
    """
    ended = []
    for job in jobs.unfinished(store):
        cause = None if job.state == "queued" else _cause_of_death(job)
        if cause is not None and _mark_dead(store, job, cause):
            ended.append(jobs.get(store, job.id))
    for kind in {job.kind for job in jobs.unfinished(store) if job.state == "queued"}:
        with contextlib.suppress(TuningforkError):  # that job is kept as failed, with the reason
            start_next(store, kind)
    return ended


def _cause_of_death(job: Job) -> str | None:
    silent_s = (now() - (job.heartbeat_at or 0)) / 1000
    return process.cause_of_death(job.host or "", job.pid or 0, job.pid_started or 0.0, silent_s)


def _mark_dead(store: Store, job: Job, cause: str) -> bool:
    if job.wanted != "run":
        return jobs.mark_ended(store, job.id, "stopped")
    log = store.home.absolute(job.log_path or "")
    word = process.last_line(log)
    what = f"The process of job {job.id} ended without a message: {cause}."
    if word:
        what += f" Its log ends with: {word}"
    return jobs.mark_ended(store, job.id, "lost", WorkerError(what, where=str(log), todo="Start it again.").as_dict())


def stop(store: Store, job_id: int, *, now: bool = False, wait_s: float = GRACE_S) -> Job:
    """End a job: it undoes what it began; when it has not ended after `wait_s` seconds, or with `now`, it is killed.

    Blocks until it has ended; a job on another host is only asked. A queued job leaves the queue. Conflict when it has
    ended.
    """
    reap(store)
    job = jobs.get(store, job_id)
    if job.state in END_STATES:
        todo = "See what is running: tuningfork jobs list"
        raise Conflict(f"Job {job_id} has already ended: it {_ended(job)}.", todo=todo)
    job = jobs.set_wanted(store, job_id, "kill" if now else "stop")
    here = job.host == process.here()
    if here and not now:
        _interrupt(job)
    deadline = time.monotonic() + (0 if now else wait_s)
    while here and time.monotonic() < deadline:
        if jobs.get(store, job_id).state in END_STATES:
            break
        time.sleep(0.05)
        reap(store)
    if here and jobs.get(store, job_id).state not in END_STATES:
        process.kill_group(job.pid or 0, job.pid_started or 0.0)
    reap(store)
    return jobs.get(store, job_id)


def _interrupt(job: Job) -> None:
    """Signal the process of a job on this host: it gets the signal at once, and reads the store a moment later."""
    if job.pid is None or job.pid == os.getpid() or not process.is_running(job.pid, job.pid_started or 0.0):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(job.pid, signal.SIGTERM)


def follow(
    store: Store,
    job_id: int,
    on_progress: Callable[[Job], None] | None = None,
    on_event: Callable[[JobEvent], None] | None = None,
    poll_s: float = 0.1,
) -> Job:
    """Watch a job to its end, from any process; returns it in its end state. Interrupting this leaves the job alone.

    `on_progress` gets the job whenever its state or progress has changed, `on_event` every event, also earlier ones.
    """
    seen_event, seen = 0, None
    while True:
        reap(store)
        job = jobs.get(store, job_id)  # read before the events: all events of an ended job are there by then
        for event in jobs.events(store, job_id, seen_event) if on_event else []:
            assert on_event is not None
            on_event(event)
            seen_event = event.id
        if on_progress is not None and (job.state, job.progress) != seen:
            seen = (job.state, job.progress)
            on_progress(job)
        if job.state in END_STATES:
            return job
        time.sleep(poll_s)


def raise_error(job: Job) -> None:
    """Raise what a failed or lost job ended with, as what it was; nothing for another."""
    if job.state not in ("failed", "lost"):
        return
    error = job.error or {}
    kind = errors.kind_named(error.get("error"), WorkerError)
    what = str(error.get("what") or f"Job {job.id} {_ended(job)}.")
    raise kind(what, where=error.get("where"), todo=error.get("todo"))


def _ended(job: Job) -> str:
    return {"stopped": "was stopped", "lost": "was lost"}.get(job.state, job.state)


# ---------------------------------------------------------------- the worker's side


class JobWork:
    """A job as its own process sees it. `progress` and `say` write to the store; `wanted` says whether to continue."""

    def __init__(self, store: Store, job: Job) -> None:
        self.store, self.job = store, job
        self.request = job.request
        self._clock = _Clock()
        self._heard: Wanted = "run"
        self._interrupted = False
        self._written = ("", "", 0.0)

    def progress(self, done: int, total: int, text: str = "", *, part: str = "", stage: str = "") -> None:
        """Report progress: `done` of `total` (0: not known) in the stage. Cheap enough for every item.

        Raises KeyboardInterrupt when the job should stop.
        """
        if self._heard != "run":
            self._interrupted = True
            raise KeyboardInterrupt
        at = time.monotonic()
        left = self._clock.seconds_left(part, stage, done, total, at)
        new = (part, stage) != self._written[:2]
        if not new and at - self._written[2] < PROGRESS_S and done < total:
            return
        self._written = (part, stage, at)
        jobs.set_progress(self.store, self.job.token, JobProgress(part, stage, text, done, total, left))

    def say(self, text: str, level: jobs.Level = "info") -> None:
        """Add an event: one sentence for those who follow the job."""
        jobs.say(self.store, self.job.token, text, level)

    def interrupt(self, number: int, frame: object) -> None:
        """The signal handler: raises KeyboardInterrupt once, so that what undoes the work is not interrupted too."""
        if not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt

    def wanted(self) -> Wanted:
        """What was last heard."""
        return self._heard

    def hear(self, wanted: Wanted) -> None:
        """Called by the heartbeat."""
        self._heard = wanted


def work(home: Home, token: str, do: Callable[[JobWork], Mapping[str, Any]]) -> int:
    """Do a job in this process and write down how it ended; `do` returns its result. Then the next of its kind starts.

    A stop, SIGTERM and SIGINT raise KeyboardInterrupt in `do`, which should undo what it began; SIGHUP is ignored.
    Returns the exit code of the process: 0 succeeded or stopped, the error's own, or SUPERSEDED.
    """
    with Store.open(home, migrate=False) as store:
        try:
            job = jobs.claim(store, token)
        except Superseded:
            return SUPERSEDED
        this, end = JobWork(store, job), _End("stopped")
        with contextlib.suppress(KeyboardInterrupt), _heartbeat(home, this):
            end = _do(this, do)
        try:
            stopped_from_here = end.state == "stopped" and jobs.wanted(store, token) != "run"
            error = end.error.as_dict() if end.error else None
            jobs.finish(store, token, end.state, result=end.result, error=error)
        except Superseded:
            return SUPERSEDED
        if end.state != "stopped" or stopped_from_here:  # signalled from outside: the machine may be shutting down
            with contextlib.suppress(TuningforkError):  # the next job is then kept as failed, with the reason
                start_next(store, job.kind)
        _drop_empty(home, job)
        return end.error.exit_code if end.error else 0


@dataclass(frozen=True, slots=True)
class _End:
    """How a job ended."""

    state: RunState
    result: Mapping[str, Any] | None = None
    error: TuningforkError | None = None


def _do(this: JobWork, do: Callable[[JobWork], Mapping[str, Any]]) -> _End:
    try:
        return _End("succeeded", result=do(this))
    except KeyboardInterrupt:
        return _End("stopped")
    except TuningforkError as error:
        return _End("failed", error=error)
    except Exception as error:
        return _End("failed", error=_unknown(this.store, this.job, error))


def _drop_empty(home: Home, job: Job) -> None:
    """Remove the log of a job that wrote nothing into it."""
    log = home.absolute(job.log_path or "")
    with contextlib.suppress(OSError):
        if log.is_file() and not log.stat().st_size:
            log.unlink()


def _unknown(store: Store, job: Job, error: Exception) -> TuningforkError:
    traceback.print_exc()
    if is_disk_full(error):
        return NoSpace("The disk is full.", where=str(store.home.root), todo="Free some space and try again.")
    log = store.home.absolute(job.log_path or "")
    return WorkerError(
        f"The {job.kind} failed: {type(error).__name__}: {error}", where=str(log), todo="The log says where; report it."
    )


@contextlib.contextmanager
def _heartbeat(home: Home, this: JobWork) -> Iterator[None]:
    """A thread that beats and listens while the block runs; a stop becomes SIGTERM, SIGTERM a KeyboardInterrupt."""
    main = threading.current_thread() is threading.main_thread()
    if main:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, this.interrupt)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    done, worker = threading.Event(), threading.current_thread().ident

    def listen() -> None:
        beat_at = 0.0
        with Store.open(home, migrate=False) as store:
            while not done.wait(LISTEN_S):
                try:
                    wanted = jobs.wanted(store, this.job.token)
                    if time.monotonic() - beat_at >= BEAT_S:
                        jobs.beat(store, this.job.token)
                        beat_at = time.monotonic()
                    if wanted != this.wanted():
                        this.hear(wanted)
                        jobs.set_state(store, this.job.token, "stopping")
                        if main and worker is not None:
                            signal.pthread_kill(worker, signal.SIGTERM)  # also ends a wait in the main thread
                except Superseded:
                    if main:
                        os._exit(SUPERSEDED)  # it was ended from outside: it must not write any more
                    this.hear("kill")
                    return
                except (TuningforkError, sqlite3.Error) as error:  # busy or full: the next one tries again
                    print(f"heartbeat missed: {error}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=listen, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if main:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # what is left is to write down the end


class _Clock:
    """The time left of a stage, from its rate since it began."""

    _SETTLED_S, _SETTLED_SHARE = 0.5, 0.05

    def __init__(self) -> None:
        self._stage: tuple[str, str] | None = None
        self._since = 0.0

    def seconds_left(self, part: str, stage: str, done: int, total: int, at: float) -> float | None:
        """Seconds, once enough of the stage is done for an estimate."""
        if self._stage != (part, stage):
            self._stage, self._since = (part, stage), at
        spent = at - self._since
        if not total or spent < self._SETTLED_S or done < total * self._SETTLED_SHARE:
            return None
        return round(spent * (total - done) / done, 1)


def main(do: Callable[[JobWork], Mapping[str, Any]], argv: list[str] | None = None) -> int:
    """The `main` of a kind of job's module: reads --home and --token, then `work`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--token", required=True)
    options = parser.parse_args(argv)
    return work(Home(options.home), options.token, do)
