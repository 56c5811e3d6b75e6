"""Training runs as processes: submit, start, watch, stop, resume, and the queue of one run at a time.
Imports neither torch nor the worker: a worker is a detached process that shares only the store with us."""

from __future__ import annotations

import itertools
import re
import secrets
import shutil
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.core import process
from engine.core.files import disk_full_as_no_space
from engine.models import pinning, refs, saved_files, template_texts
from engine.models.prepare import prepare
from engine.training import continuing, rewards, watched_probes
from engine.training.config import TrainConfig
from engine.training.data import snapshot_of
from engine.training.launchers import LAUNCHERS
from engine.training.model_check import check_model, with_method
from store import datasets, runs
from store.canon import new_uid
from store.db import Store, now
from store.errors import BadInput, Conflict, NotFound, Unsupported, WorkerError
from store.records import END_STATES, LIVE_STATES, Attempt, Event, Metric, Run, Snapshot, state_word

__all__ = [
    "MetricReader",
    "RunStatus",
    "alive",
    "can_resume",
    "free_name",
    "names",
    "prepare",
    "reap",
    "remove",
    "resume",
    "start",
    "start_next",
    "status",
    "stop",
    "submit",
    "wait",
]

HUNG_S = 120.0
"""No step for this long (or for 20 times a usual step, if that is more) and a running job is called hung."""
NO_BEAT_S = 30.0
"""No heartbeat for this long from a process that exists, and it is called hung: suspended, or without CPU time."""
_RATE_POINTS = 20  # the rate is that of the last steps: the first ones are slower


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where a run is. `rate` is in optimizer steps per second, `seconds_left` and `elapsed` in seconds.

    `loss`, `rate` and `seconds_left` are None until they are known: a rate needs two steps of this attempt. `elapsed`
    counts the time of all attempts. `phase` says what a run does before its first step and after its last. `hung`
    means alive, but without progress for long.
    """

    run: Run
    state: str
    step: int
    total_steps: int | None
    loss: float | None
    rate: float | None
    seconds_left: float | None
    elapsed: float
    hung: bool
    phase: str


def submit(store: Store, config: TrainConfig, data: str | Snapshot, name: str | None = None) -> Run:
    """Freeze the data and put a run on it in the queue; `start` starts the queue.

    `data` is a dataset's name, a snapshot's hash (or its beginning), or a Snapshot. Without a name the run is named
    after the dataset. Raises NotFound, BadInput or Unsupported for data or models that cannot be trained, Conflict
    when the name is taken; then nothing is written.
    """
    base = refs.resolve(store, config.model)
    if base.kind == "endpoint" or base.adapter is not None:
        raise Unsupported(
            f"{base.ref} cannot be trained: tuning starts from a base model.",
            todo="Choose the base model itself, a folder, or a .gguf file; on top of an adapter: --on REF.",
        )
    config, continues = continuing.settled(store, config)
    config, _ = with_method(config, base)
    check_model(base, config)
    watched_probes.check(store, config.watch)
    # The worker runs elsewhere: a path must be absolute, and a template's file is read now.
    watch = config.watch and watched_probes.absolute(config.watch)
    config = config.replace(model=base.ref, template=template_texts.settled(config.template), watch=watch)
    config = rewards.settled(store, config)
    copies = store.home.runs / f".new-{new_uid()}"
    try:
        if config.on is not None:
            continuing.keep(store, config, copies / continuing.FOLDER)
        rewards.keep(store, config, copies / rewards.FOLDER)
        return _queue(store, config, base.ref, data, name, copies, [continues, rewards.said(config)])
    finally:
        shutil.rmtree(copies, ignore_errors=True)  # what is left is of a run that could not be queued


def _queue(
    store: Store,
    config: TrainConfig,
    base: str,
    data: str | Snapshot,
    name: str | None,
    copies: Path,
    notes: Sequence[str],
) -> Run:
    """The second half of `submit`: everything that is written, in one transaction."""
    with store.write():
        snapshot = snapshot_of(store, data, config.objective)
        if not snapshot.splits.get("train"):
            raise BadInput(
                "No ready pair is in the train split, so there is nothing to train on.",
                where=snapshot.dataset,
                todo="Set pairs to ready, or split the dataset again.",
            )
        run = runs.create(
            store,
            name=name if name is not None else free_name(snapshot.dataset or "run", names(store)),
            base=base,
            snapshot=snapshot.hash,
            method=config.method,
            config=config.to_json(),
            config_hash=config.hash(),
            seed=config.seed,
        )
        left_out = rewards.keep_probes(
            store, config, datasets.snapshot_rows(store, snapshot.hash), copies / rewards.FOLDER
        )
        for copy in copies.iterdir() if copies.is_dir() else ():
            folder = store.home.run_dir(run.uid)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            copy.rename(folder / copy.name)
        for note in filter(None, [*notes, *left_out]):
            runs.note(store, run.id, note, "info")
        return run


def names(store: Store) -> frozenset[str]:
    """The names of all runs."""
    return frozenset(run.name for run in runs.all_runs(store))


def free_name(dataset: str, taken: Container[str]) -> str:
    """A name for a run on a dataset that is not taken: ember-1, ember-2 …"""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", dataset).strip("-")[:50] or "run"
    return next(name for n in itertools.count(1) if (name := f"{stem}-{n}") not in taken)


def start(store: Store, name: str) -> Attempt | None:
    """Start the queue, and return the run's live attempt; None when it waits behind another.

    Conflict when the run has already ended: `resume` continues it.
    """
    reap(store)
    run = runs.get(store, name)
    if run.state in END_STATES:
        again = f"Resume it: tuningfork runs resume {name}" if can_resume(run) else "Train under a new name."
        raise Conflict(f"Run {name} has already ended ({state_word(run.state)}).", todo=again)
    start_next(store)
    return runs.live_attempt(store, run.id)


def start_next(store: Store) -> Attempt | None:
    """Start the run that has waited longest, unless one is live. Callers may race: one wins, the others get None.

    A run whose configuration cannot be used here, such as one with an unknown launcher, fails and leaves the queue.
    """
    if runs.next_queued(store) is None:
        return None
    with store.write():
        while not runs.live_attempts(store) and (run := runs.next_queued(store)):
            if attempt := _launch(store, run):
                return attempt
    return None


def can_resume(run: Run) -> bool:
    """Whether to offer resuming: the run ended early, and not for a reason that would end it again."""
    return run.state in END_STATES and run.state != "succeeded" and not run.repeats


def reap(store: Store) -> list[str]:
    """Mark runs whose process is gone as lost, and keep the queue going; returns their names. Every poll calls it."""
    lost: list[str] = []
    for attempt in runs.live_attempts(store):
        if why := _death(store, attempt):
            runs.mark_lost(store, attempt.id, why)  # changes nothing if the attempt has ended meanwhile
            run = runs.by_id(store, attempt.run_id)
            lost += [run.name] if run.state == "lost" else []
    start_next(store)
    return lost


def alive(attempt: Attempt) -> bool:
    """Whether the attempt's process is there: host, pid and start time tell, and its heartbeat where they cannot."""
    return attempt.ended_at is None and _cause_of_death(attempt) is None


def stop(store: Store, name: str, *, now: bool = False) -> Run:
    """Ask a run to save a checkpoint and end; `now` kills its process and loses what came after the last checkpoint.

    A queued run leaves the queue at once. A live one ends within a step: watch it. Conflict when there is nothing to
    stop.
    """
    reap(store)
    with store.write():
        run = runs.get(store, name)
        if run.state in END_STATES:
            raise Conflict(f"Run {name} has already ended ({state_word(run.state)}).")
        runs.set_wanted(store, name, "kill" if now else "stop")
        attempt = runs.live_attempt(store, run.id)
    if now and attempt and attempt.host == process.here():
        process.kill_group(attempt.pid, attempt.pid_started)
        reap(store)
    return runs.get(store, name)


def resume(
    store: Store,
    name: str,
    step: int | None = None,
    *,
    steps: int | None = None,
    launcher: str | None = None,
    processes: int | None = None,
    shard: bool | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Attempt | None:
    """Continue a stopped, lost or failed run from its newest checkpoint that is as it was saved, or from the start when
    it has none; with `step` from that checkpoint. `steps` gives the run more steps in all, so that a finished one can
    continue, too: from the state at its end. `launcher`, `processes` and `shard` start it another way than before, if
    given.

    What is skipped or given up is said in the run's log, and to `on_note`. Returns its live attempt, or None when it
    waits behind another run. Conflict when it is live, queued or done, or when its base changed since it began;
    NotFound or BadInput for a checkpoint that cannot be used, BadInput for too few steps or for a launcher that does
    not carry the run.
    """
    reap(store)
    run = _resumable(store, name, steps)
    config = _started_by(TrainConfig.from_json(run.config), launcher, processes, shard)
    end: Path | None = None
    from_step: int | None
    if run.state == "succeeded" and step is None:
        end, from_step, notes = _end_state(store, run)
    else:
        from_step, notes = _resume_point(store, run, step)
    if steps is not None and steps <= (total := run.total_steps or 0):
        what = f"Run {name} has {total} steps already; it can only be given more."
        raise BadInput(what, where="steps", todo=f"Give at least {total + 1} steps in all.")
    base = refs.resolve(store, run.base)
    pinning.check_unchanged(run, base.gguf, base.folder)
    otherwise = (launcher, processes, shard) != (None, None, None)
    if otherwise:
        check_model(base, config)
    if run.result_step is not None:
        notes.append(
            f"Step {run.result_step} was made the run's result; what is the result is settled at its end again."
        )
    with store.write():
        _resumable(store, name, steps)  # another process may have been faster
        if end is not None:
            _list_end_state(store, run, end)
        if steps is not None:
            longer = config.replace(steps=steps)
            runs.extend(store, name, longer.to_json(), longer.hash(), steps)
        elif otherwise:
            runs.start_otherwise(store, name, config.to_json())
        runs.queue(store, name, from_step)
        for note in notes:
            runs.note(store, run.id, note, "warning")
    for note in notes if on_note else ():
        on_note(note)  # type: ignore[misc]
    return start(store, name)


def _started_by(
    config: TrainConfig, launcher: str | None, processes: int | None, shard: bool | None = None
) -> TrainConfig:
    """The configuration with another launcher: local again means one process with the whole model, unless what is given
    says otherwise."""
    changes: dict[str, Any] = {}
    if launcher is not None:
        changes = {"launcher": launcher, "processes": 1, "shard": False}
    if processes is not None:
        changes["processes"] = processes
    if shard is not None:
        changes["shard"] = shard
    return config.replace(**changes)


def _resumable(store: Store, name: str, steps: int | None) -> Run:
    """The run, if it has ended and something is left to do. Conflict otherwise."""
    run = runs.get(store, name)
    if run.state == "succeeded" and steps is None:
        todo = f"Continue it for more steps: tuningfork runs resume {name} --steps N, with N above {run.step}."
        raise Conflict(f"Run {name} is done; there is nothing to resume.", todo=todo)
    if run.state not in END_STATES:
        raise Conflict(f"Run {name} is {run.state} already.", todo=f"Watch it: tuningfork runs watch {name}")
    return run


def _resume_point(store: Store, run: Run, step: int | None) -> tuple[int | None, list[str]]:
    """The step of the checkpoint to resume from, None for the start, and sentences on what is skipped."""
    saved = {c.step: c for c in reversed(runs.checkpoints(store, run.id))}
    if step is not None and step not in saved:
        have = ", ".join(str(at) for at in sorted(saved)) or "none"
        raise NotFound(f"Run {run.name} has no checkpoint at step {step}.", todo=f"Its checkpoints: {have}.")
    bad: list[str] = []
    for at in saved if step is None else (step,):
        wrong = saved_files.damage(store.home.absolute(saved[at].path), saved[at].manifest)
        if wrong is None:
            return at, [f"{'; '.join(bad)}. The run is resumed from step {at}."] if bad else []
        bad.append(f"The checkpoint at step {at} is damaged: {wrong}")
    if step is not None:
        others = ", ".join(str(at) for at in sorted(saved) if at != step) or "none"
        raise BadInput(f"{bad[0]}.", where=run.name, todo=f"Its other checkpoints: {others}.")
    return None, [f"{'; '.join(bad)}. No checkpoint can be used: the run begins again."] if bad else []


def _end_state(store: Store, run: Run) -> tuple[Path | None, int, list[str]]:
    """The folder with the state at the end of a finished run, and its step; where it cannot be used, None and the step
    of a checkpoint before it, with sentences on why. Conflict when there is neither.
    """
    folder = store.home.run_dir(run.uid) / "checkpoints"
    wrong: str | None = "it was not kept"
    for place in (folder / "end", folder / f"step-{run.step}"):  # the second when an earlier try was interrupted
        manifest = saved_files.manifest_of(place)
        if manifest.get("step") == run.step:
            wrong = saved_files.damage(place, manifest.get("files", {}))
            if wrong is None:
                return place, run.step, []
    at, notes = _resume_point(store, run, None)
    if at is None:
        raise Conflict(
            f"Run {run.name} cannot be continued: it has no checkpoint that can be used, nor the state at its end"
            f" ({wrong}).",
            todo="Train a new run with more steps.",
        )
    return None, at, [*notes, f"The state at the end of the run cannot be used ({wrong}): it continues from step {at}."]


def _list_end_state(store: Store, run: Run, folder: Path) -> None:
    """Make the state at the end of a finished run a checkpoint like any other, in the caller's transaction."""
    final = folder.with_name(f"step-{run.step}")
    if folder != final:
        shutil.rmtree(final, ignore_errors=True)
        folder.rename(final)
    files = saved_files.manifest_of(final).get("files", {})
    runs.keep_checkpoint(store, run.id, run.step, store.home.relative(final), files)


def remove(store: Store, name: str) -> None:
    """Delete a run with its metrics, events, checkpoints and adapter. Conflict while it is live."""
    reap(store)
    folder = Path(runs.remove(store, name))
    if folder.is_dir():
        doomed = folder.with_name(f".deleted-{folder.name}-{new_uid()}")  # gone at once, even if deleting takes a while
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def wait(
    store: Store,
    name: str,
    on_event: Callable[[Event], None] | None = None,
    on_metrics: Callable[[list[Metric]], None] | None = None,
    poll_s: float = 0.3,
) -> Run:
    """Follow a run to its end, from any process; returns it in its end state.

    `on_event` gets every event of the run, also those from before; `on_metrics` the new numbers of each poll. Both are
    called in this thread. Interrupting the wait leaves the run alone.
    """
    run = runs.get(store, name)
    seen_event, reader = 0, MetricReader(run.id)
    while True:
        reap(store)
        run = runs.by_id(store, run.id)  # read before the events: once it has ended, all its events are there
        while on_event and (events := runs.events(store, run.id, after_id=seen_event)):
            for event in events:
                on_event(event)
            seen_event = events[-1].id
        if on_metrics and (fresh := reader.fresh(store)):
            on_metrics(fresh)
        if run.state in END_STATES:
            return run
        time.sleep(poll_s)


class MetricReader:
    """Reads the numbers of one run as they come: each call returns what is new since the last one, in order of steps.

    One step's numbers may come in several writes (its loss, later its val_loss), and a resumed run writes steps again
    that it had written before it was stopped: both are new. A call reads from the step that the run is at, not from
    the beginning.
    """

    def __init__(self, run_id: int, names: Sequence[str] | None = None) -> None:
        self._run_id, self._names = run_id, names
        self._seen: dict[tuple[str, int], Metric] = {}
        self._attempt: int | None = None
        self._from = 0

    def fresh(self, store: Store) -> list[Metric]:
        """What was written since the last call; at first, everything."""
        attempts = runs.attempts(store, self._run_id)
        last = attempts[-1] if attempts else None
        again = last is not None and last.id != self._attempt
        found = runs.metrics(store, self._run_id, self._names, after_step=-1 if again else self._from - 1)
        fresh = [m for m in found if self._seen.get((m.name, m.step)) != m]
        self._seen |= {(m.name, m.step): m for m in fresh}
        if again and last is not None:  # what came before this attempt may be written again, from its checkpoint on
            self._attempt = last.id
            self._from = max((m.step for m in found if m.at > last.started_at), default=last.resume_from or 0)
        elif fresh:
            self._from = max(m.step for m in fresh)
        return fresh


def status(store: Store, name: str) -> RunStatus:
    """Where a run is now. Only reads; see RunStatus for what may be None."""
    run, at = runs.get(store, name), now()
    attempts = runs.attempts(store, run.id)
    live = next((a for a in attempts if a.ended_at is None), None)
    losses = runs.metrics(store, run.id, names=["loss"], after_step=run.step - _RATE_POINTS - 1)
    losses = [m for m in losses if m.step <= run.step]  # a resumed run has not overwritten the later ones yet
    mine = [m for m in losses if attempts and m.at >= attempts[-1].started_at]
    rate = _rate(mine)
    left = None
    if rate and live and run.total_steps is not None and run.step < run.total_steps:
        left = max(0.0, (run.total_steps - run.step) / rate - (at - mine[-1].at) / 1000)
    return RunStatus(
        run=run,
        state=run.state,
        step=run.step,
        total_steps=run.total_steps,
        loss=losses[-1].value if losses else None,
        rate=rate if live else None,
        seconds_left=left,
        elapsed=sum((a.ended_at or at) - a.started_at for a in attempts) / 1000,
        hung=live is not None and _is_hung(run, live, rate, at),
        phase=_phase(store, run),
    )


def _launch(store: Store, run: Run) -> Attempt | None:
    """Open an attempt and start its process, in the caller's transaction; None when the run failed instead.

    The worker's claim waits for that transaction, so it finds its attempt; if the transaction fails, it finds none
    and exits.
    """
    home = store.home
    log = home.run_dir(run.uid) / f"attempt-{len(runs.attempts(store, run.id)) + 1}.log"
    token = secrets.token_hex(16)
    attempt = runs.open_attempt(
        store,
        run.id,
        host=process.here(),
        pid=0,
        pid_started=0.0,
        token=token,
        log_path=home.relative(log),
        resume_from=run.resume_from,
    )
    try:
        config = TrainConfig.from_json(run.config)
        launcher = LAUNCHERS[config.launcher]
    except BadInput as error:
        runs.close_unstarted(store, attempt.id, f"The run cannot be started: {error.what}")
        return None
    try:
        with disk_full_as_no_space(
            "The disk is full: the run was not started.", log.parent, "Free some space, then start the run again."
        ):
            pid, started = launcher.start(
                process.command("run", "--home", str(home.root), "--token", token),
                processes=config.processes,
                log=log,
                cwd=home.root,
                env=process.environment(max(1, (config.threads or process.cores()) // config.processes)),
            )
    except OSError as error:
        raise WorkerError(
            f"The training process cannot be started: {error.strerror}.", where=str(log.parent)
        ) from error
    runs.set_attempt_process(store, attempt.id, pid, started)
    return replace(attempt, pid=pid, pid_started=started)


def _death(store: Store, attempt: Attempt) -> str | None:
    """Why the attempt is dead, in a sentence or two for the run's error; None while it lives."""
    cause = _cause_of_death(attempt)
    if cause is None:
        return None
    log = store.home.absolute(attempt.log_path)
    last = process.last_line(log)
    return (
        f"The training process ended without giving a reason: {cause}."
        + (f" Its log ends with: {last}" if last else "")
        + f"\n  Log: {log}"
    )


def _cause_of_death(attempt: Attempt) -> str | None:
    silent_s = (now() - attempt.heartbeat_at) / 1000
    return process.cause_of_death(attempt.host, attempt.pid, attempt.pid_started, silent_s)


def _is_hung(run: Run, attempt: Attempt, rate: float | None, at: int) -> bool:
    """A suspended process gives no heartbeat; behind a stuck training thread heartbeats go on, but no step comes."""
    if at - attempt.heartbeat_at > NO_BEAT_S * 1000:
        return True
    patience_s = max(HUNG_S, 20 / rate if rate else 0.0)
    return run.state != "starting" and at - attempt.progress_at > patience_s * 1000


def _rate(points: list[Metric]) -> float | None:
    """Optimizer steps per second from the first to the last of some metrics; None unless they differ in time."""
    if len(points) < 2 or points[-1].at <= points[0].at or points[-1].step <= points[0].step:
        return None
    return (points[-1].step - points[0].step) * 1000 / (points[-1].at - points[0].at)


def _phase(store: Store, run: Run) -> str:
    if run.state == "queued":
        busy = [runs.by_id(store, attempt.run_id).name for attempt in runs.live_attempts(store)]
        return f"waits for {busy[0]}" if busy else "waits to start"
    ending = run.state in LIVE_STATES and run.total_steps is not None and run.step >= run.total_steps
    if run.state != "starting" and not ending:
        return ""
    event = runs.last_event(store, run.id)
    return str(event.body.get("text", "")) if event else ""
