"""Everything around the training of an attempt: claiming it, heartbeats, stop requests, signals, how it ended.
Training itself is trainer.py's; nothing heavy is imported before the attempt is claimed, so its state shows at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.core.files import write_json
from engine.models import pinning, refs
from engine.training import continuing, rewards, run_control, watched_probes
from engine.training.calibration import calibrated
from engine.training.config import TrainConfig
from engine.training.estimate import machine
from engine.training.worker import error_messages, model_cache
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.ranks import ALONE, Ranks
from store import datasets, runs
from store.db import Store
from store.errors import NotFound, Superseded, TuningforkError
from store.home import Home
from store.records import Attempt, Run, RunState, SnapshotRow, Wanted

BEAT_S = 2.0
"""Seconds between heartbeats."""
SUPERSEDED = 75
"""Exit code of a worker whose run belongs to a later attempt."""
_BUSY_TRIES = 6  # of ten seconds each: another program's long write must not end a run

Train = Callable[[TrainingJob], Outcome]


def run(home: Home, token: str, train: Train | None = None, ranks: Ranks = ALONE) -> int:
    """Work on the attempt that carries `token`, to its end; then start the next run in the queue.

    Returns the exit code: 0 succeeded or stopped, 1 or 2 failed (the run says why), SUPERSEDED when the attempt is not
    ours. `train` stands in for engine.training.worker.trainer.run. Of several `ranks` only the first does more to the
    store than read.
    """
    ranks.watch()
    with Store.open(home, migrate=False) as store:
        if not ranks.first:
            return _beside(store, token, train, ranks)
        heartbeat = Heartbeat(home, token)
        try:
            run, attempt = runs.claim(store, token)
            heartbeat.start()
            code = _work(store, run, attempt, heartbeat, train, ranks)
        except Superseded as error:
            print(f"nothing to do: {error.what}", file=sys.stderr)
            return SUPERSEDED
        finally:
            heartbeat.stop()
        # At a shutdown every worker gets a signal: do not start another one then.
        if ranks.starts_next and not heartbeat.signalled:
            run_control.start_next(store)
        return code


def _beside(store: Store, token: str, train: Train | None, ranks: Ranks) -> int:
    """Train beside the first process of the run; returns the exit code. A failure is left for the process that started
    this one, which records it if the first cannot."""
    try:
        run, attempt = runs.held(store, token)
        _train(store, run, attempt, SilentReporter(), train, ranks)
    except Superseded:
        return SUPERSEDED
    except BaseException as error:
        traceback.print_exc()
        ranks.tell_failure(error_messages.sentence(error) if not isinstance(error, TuningforkError) else str(error))
        return error.exit_code if isinstance(error, TuningforkError) else 1
    return 0


def _work(
    store: Store, run: Run, attempt: Attempt, heartbeat: Heartbeat, train: Train | None, ranks: Ranks = ALONE
) -> int:
    """Train, and record how it ended; returns the exit code. Raises Superseded."""
    token = attempt.token
    try:
        outcome = _train(store, run, attempt, StoreReporter(store, run.id, token, heartbeat), train, ranks)
    except Superseded:
        raise
    except BaseException as error:  # whatever ended the training, the run must record it
        heartbeat.stop()
        report = error_messages.explain(error, store.home.absolute(attempt.log_path))
        code = error.exit_code if isinstance(error, TuningforkError) else 1
        traceback.print_exc()
        # Last in the log: on a full disk only the log has space left for it.
        print(report.splitlines()[0], file=sys.stderr)
        patiently(
            runs.finish, store, token, "failed", error=report, exit=str(code), repeats=error_messages.repeats(error)
        )
        return code
    heartbeat.stop()
    if outcome is None:
        patiently(runs.finish, store, token, "stopped")
    else:
        adapter = store.home.relative(outcome.adapter) if outcome.state == "succeeded" else None
        patiently(runs.finish, store, token, outcome.state, adapter=adapter)
    return 0


def _train(
    store: Store,
    run: Run,
    attempt: Attempt,
    reporter: StoreReporter | SilentReporter,
    train: Train | None,
    ranks: Ranks,
) -> Outcome | None:
    """Gather what the job needs, then train. None when a stop was asked for before there was anything to keep."""
    config = TrainConfig.from_json(run.config)
    rows = datasets.snapshot_rows(store, run.snapshot)
    resume_from = _checkpoint(store, run, attempt)
    reporter.say(f"Reading {run.base}", phase="loading")
    base_folder = model_cache.folder(store.home, run.base, lambda text: reporter.say(text, phase="preparing"))
    base = refs.resolve(store, run.base)
    pinning.check_unchanged(run, base.gguf, base_folder)
    reporter.base_files = pinning.fingerprint_of(base.gguf, base_folder)
    if reporter.wanted() != "run":
        return None
    if train is None:
        reporter.say("Loading PyTorch", phase="loading")
        from engine.training.worker import trainer

        train = trainer.run
    out = store.home.run_dir(run.uid)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    if isinstance(reporter, StoreReporter):
        _keep_probes(store, config, rows, out, reporter)
    start, scorer = continuing.kept(out, config), None
    if config.reward is not None:
        scorer = model_cache.folder(store.home, rewards.kept(out)["base"], lambda text: reporter.say(text))
    models, home = store.home.models, store.home
    here = machine()
    job = TrainingJob(
        config, rows, base_folder, out, resume_from, reporter, models, start, scorer, ranks, home,
        lambda guess: calibrated(store, guess, config, here),
    )  # fmt: skip
    return train(job)


def _keep_probes(
    store: Store, config: TrainConfig, rows: list[SnapshotRow], out: Path, reporter: StoreReporter
) -> None:
    """Write the probes that the run asks into its folder, at its first attempt: the sets may change later."""
    path = out / watched_probes.FILE
    if not config.watch or path.is_file():
        return
    sets, notes = watched_probes.read(store, config.watch, rows)
    for note in notes:
        reporter.say(note, level="warning")
    write_json(path, watched_probes.to_json(sets))


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


class Heartbeat:
    """A thread with its own connection that shows the run to be alive, and ends the process when it must end at once.

    It ends the process when a kill is wanted or the attempt is not ours any more, and sets the state to "stopping" when
    a stop is wanted. Training may keep the GIL for long, and no beat comes meanwhile. Nothing is lost by that: on this
    host a run is alive while its process is.
    """

    def __init__(self, home: Home, token: str) -> None:
        self._home, self._token = home, token
        self._wanted: Wanted = "run"
        self._wake, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.signalled = False

    def start(self) -> None:
        """Begin to beat and to handle signals: TERM and INT ask for a stop, HUP (a closed terminal) is ignored."""
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
        """What the user wanted of this run at the last beat, or by a signal since."""
        return self._wanted

    def notice(self, wanted: Wanted) -> None:
        """Act now on what another thread read: the next beat comes at once."""
        if wanted not in ("run", self._wanted):
            self._wanted = wanted
            self._wake.set()

    def _on_signal(self, number: int, frame: Any) -> None:
        self.signalled = True
        self._wanted = "stop"
        self._wake.set()

    def _beat(self) -> None:
        stopping = False
        with Store.open(self._home, migrate=False) as store:
            while not self._done.is_set():
                try:
                    wanted = runs.beat(store, self._token)
                    if wanted != "run":
                        self._wanted = wanted
                    if self._wanted == "kill":
                        _end_all()
                    if self._wanted == "stop" and not stopping:
                        runs.set_state(store, self._token, "stopping")
                        stopping = True
                except Superseded:
                    print("another attempt owns the run now", file=sys.stderr, flush=True)
                    os._exit(SUPERSEDED)  # at once: the training thread must not write another file
                except (TuningforkError, sqlite3.Error) as error:  # busy or full; the next one tries again
                    print(f"heartbeat missed: {error}", file=sys.stderr, flush=True)
                self._wake.wait(BEAT_S)
                self._wake.clear()


class StoreReporter:
    """A Reporter that writes into the store: called from the training thread, with that thread's connection."""

    def __init__(self, store: Store, run_id: int, token: str, heartbeat: Heartbeat) -> None:
        self._store, self._run_id, self._token, self._heartbeat = store, run_id, token, heartbeat
        self.base_files: dict[str, str] = {}

    def total(self, steps: int, env: dict[str, Any]) -> None:
        state: RunState = "running" if self.wanted() == "run" else "stopping"
        pinned = {pinning.KEY: self.base_files} if self.base_files else {}
        patiently(runs.set_state, self._store, self._token, state, total_steps=steps, env=env | pinned)

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
        """Read from the store each time, which takes some microseconds: a stop is followed at the very next step."""
        try:
            self._heartbeat.notice(runs.by_id(self._store, self._run_id).wanted)
        except (TuningforkError, sqlite3.Error) as error:  # the heartbeat hears of it a little later, or ends us
            print(f"cannot read what is wanted: {error}", file=sys.stderr, flush=True)
        return self._heartbeat.wanted()


class SilentReporter:
    """The Reporter of a process beside the first one of a run: the first reports for all."""

    base_files: Mapping[str, str] = {}

    def total(self, steps: int, env: dict[str, Any]) -> None:
        """Not told."""

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        """Not told."""

    def say(self, text: str, *, level: str = "info", **body: Any) -> None:
        """Not told."""

    def checkpoint(self, step: int, path: Path, manifest: dict[str, Any], val_loss: float | None) -> None:
        """Not told."""

    def pruned(self, path: Path) -> None:
        """Not told."""

    def wanted(self) -> Wanted:
        """The first process hears what is wanted, and passes it on."""
        return "run"


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
