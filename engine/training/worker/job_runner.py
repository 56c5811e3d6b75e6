"""The job shell: everything around training. Claims the attempt, beats, hears stop and signals, tells how it ended.
What training does is sft.py's; nothing heavy is imported before the attempt is claimed, so its state shows at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.training import run_control
from engine.training.config import TrainConfig
from engine.training.worker import error_messages, model_cache
from engine.training.worker.contracts import Job, Outcome
from store import datasets, runs
from store.db import Store
from store.errors import NotFound, Superseded, TuningforkError
from store.home import Home
from store.records import Attempt, Run, RunState, Wanted

BEAT_S = 2.0
SUPERSEDED = 75
"""Exit code of a worker whose run belongs to a later attempt."""
_BUSY_TRIES = 6  # of ten seconds each: another program's long write must not end a run

Train = Callable[[Job], Outcome]


def run(home: Home, token: str, train: Train | None = None) -> int:
    """Work on the attempt that carries `token`, to its end; then start the next run in the queue.

    Returns the exit code: 0 succeeded or stopped, 1 or 2 failed (the run says why), SUPERSEDED when the attempt is not
    ours. `train` stands in for engine.training.worker.trainer.run.
    """
    with Store.open(home, migrate=False) as store:
        heart = Heart(home, token)
        try:
            run, attempt = runs.claim(store, token)
            heart.start()
            code = _work(store, run, attempt, heart, train)
        except Superseded as error:
            print(f"nothing to do: {error.what}", file=sys.stderr)
            return SUPERSEDED
        finally:
            heart.stop()
        if not heart.signalled:  # at a shutdown every worker gets a signal: do not start another one then
            run_control.start_next(store)
        return code


def _work(store: Store, run: Run, attempt: Attempt, heart: Heart, train: Train | None) -> int:
    """Train, and write down how it ended; returns the exit code. Raises Superseded."""
    token = attempt.token
    try:
        outcome = _train(store, run, attempt, heart, train)
    except Superseded:
        raise
    except BaseException as error:  # whatever ended the training, the run must say it
        heart.stop()
        report = error_messages.explain(error, store.home.absolute(attempt.log_path))
        code = error.exit_code if isinstance(error, TuningforkError) else 1
        traceback.print_exc()
        print(
            report.splitlines()[0], file=sys.stderr
        )  # last in the log: on a full disk only the log has room left to say it
        patiently(runs.finish, store, token, "failed", error=report, exit=str(code))
        return code
    heart.stop()
    if outcome is None:
        patiently(runs.finish, store, token, "stopped")
    else:
        adapter = store.home.relative(outcome.adapter) if outcome.state == "succeeded" else None
        patiently(runs.finish, store, token, outcome.state, adapter=adapter)
    return 0


def _train(store: Store, run: Run, attempt: Attempt, heart: Heart, train: Train | None) -> Outcome | None:
    """Gather what the job needs, then train. None when a stop was asked for before there was anything to keep."""
    reporter = StoreReporter(store, run.id, attempt.token, heart)
    config = TrainConfig.from_json(run.config)
    rows = datasets.snapshot_rows(store, run.snapshot)
    resume_from = _checkpoint(store, run, attempt)
    reporter.say(f"Reading {run.base}", phase="loading")
    base_folder = model_cache.folder(store.home, run.base, lambda text: reporter.say(text, phase="preparing"))
    if heart.wanted() != "run":
        return None
    if train is None:
        reporter.say("Loading PyTorch", phase="loading")
        from engine.training.worker import trainer

        train = trainer.run
    out = store.home.run_dir(run.uid)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    return train(Job(config, rows, base_folder, out, resume_from, reporter))


def _checkpoint(store: Store, run: Run, attempt: Attempt) -> Path | None:
    """The folder of the checkpoint that this attempt resumes from."""
    if attempt.resume_from is None:
        return None
    for saved in runs.checkpoints(store, run.id):
        if saved.step == attempt.resume_from:
            return store.home.absolute(saved.path)
    raise NotFound(
        f"The checkpoint at step {attempt.resume_from} is gone.", where=run.name, todo="Resume the run again."
    )


class Heart:
    """A thread with its own connection: beats, hears what is wanted, ends the process when the attempt is not ours.

    Training may hold the GIL for long, and no beat comes meanwhile. That is no harm: on this host liveness goes by the
    process, and a late beat only delays a stop.
    """

    def __init__(self, home: Home, token: str) -> None:
        self._home, self._token = home, token
        self._wanted: Wanted = "run"
        self._wake, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.signalled = False

    def start(self) -> None:
        """Begin to beat and to hear signals: TERM and INT ask for a stop, HUP (a closed terminal) is none of ours."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._thread.start()

    def stop(self) -> None:
        """No beat comes after this returns."""
        self._done.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wanted(self) -> Wanted:
        """What the user wants of this run, as far as was heard."""
        return self._wanted

    def _on_signal(self, number: int, frame: Any) -> None:
        self.signalled = True
        self._wanted = "stop"
        self._wake.set()

    def _beat(self) -> None:
        told = False
        with Store.open(self._home, migrate=False) as store:
            while not self._done.is_set():
                try:
                    heard = runs.beat(store, self._token)
                    if heard != "run":
                        self._wanted = heard
                    if self._wanted == "kill":
                        _end_all()
                    if self._wanted == "stop" and not told:
                        runs.set_state(store, self._token, "stopping")
                        told = True
                except Superseded:
                    print("another attempt owns the run now", file=sys.stderr, flush=True)
                    os._exit(SUPERSEDED)  # at once: the training thread must not write a file more
                except (TuningforkError, sqlite3.Error) as error:
                    print(
                        f"heartbeat missed: {error}", file=sys.stderr, flush=True
                    )  # busy or full; the next one tries again
                self._wake.wait(BEAT_S)
                self._wake.clear()


class StoreReporter:
    """The Reporter of sft.py over the store: called from the training thread, with that thread's connection."""

    def __init__(self, store: Store, run_id: int, token: str, heart: Heart) -> None:
        self._store, self._run_id, self._token, self._heart = store, run_id, token, heart

    def total(self, steps: int, env: dict[str, Any]) -> None:
        state: RunState = "running" if self._heart.wanted() == "run" else "stopping"
        patiently(runs.set_state, self._store, self._token, state, total_steps=steps, env=env)

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        patiently(runs.record, self._store, self._token, step, values)

    def say(self, text: str, *, level: str = "info", **body: Any) -> None:
        patiently(runs.say, self._store, self._token, text, level=level, **body)

    def checkpoint(self, step: int, path: Path, manifest: dict[str, Any], val_loss: float | None) -> None:
        place = self._store.home.relative(path)
        patiently(runs.add_checkpoint, self._store, self._token, step, place, manifest, val_loss)

    def pruned(self, path: Path) -> None:
        place = self._store.home.relative(path)
        for step in [saved.step for saved in runs.checkpoints(self._store, self._run_id) if saved.path == place]:
            patiently(runs.prune_checkpoint, self._store, self._token, step)

    def wanted(self) -> Wanted:
        return self._heart.wanted()


def patiently(write: Callable[..., None], *args: Any, **named: Any) -> None:
    """Do a write, again when another program keeps the store busy for long. What fails for another reason is raised."""
    for left in range(_BUSY_TRIES, 0, -1):
        try:
            write(*args, **named)
            return
        except TuningforkError as error:
            busy = isinstance(error.__cause__, sqlite3.OperationalError) and "lock" in str(error.__cause__)
            if not busy or left == 1:
                raise
            time.sleep(0.1)


def _end_all() -> None:
    """This process and what it started, at once. Only a session leader may do it: its group is its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(137)
