"""Runs as seen by everything but the worker: create, list, queue, open and close attempts, read their messages.
What the worker itself writes is in worker.py (offered here too); starting processes is the engine's business."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from store.canon import canonical, new_uid
from store.datasets import near, snapshot
from store.db import Store, now
from store.errors import BadInput, Conflict, NotFound
from store.names import check_name
from store.records import END_STATES, Attempt, Checkpoint, Event, Metric, Run, Wanted, state_word
from store.worker import RUN_COLUMNS as _RUN
from store.worker import (
    add_checkpoint,
    add_event,
    attempt_from,
    beat,
    claim,
    finish,
    held,
    prune_checkpoint,
    record,
    run_from,
    say,
    set_state,
)

MOST_NOTED = 500
"""Characters of a run's note at most."""

__all__ = [
    "MOST_NOTED",
    "add_checkpoint",
    "all_runs",
    "attempts",
    "beat",
    "by_id",
    "checkpoints",
    "claim",
    "close_unstarted",
    "create",
    "drop_checkpoint",
    "events",
    "extend",
    "finish",
    "get",
    "held",
    "keep_checkpoint",
    "last_event",
    "live_attempt",
    "live_attempts",
    "mark_lost",
    "measured_at",
    "metric_names",
    "metrics",
    "metrics_with_prefix",
    "next_queued",
    "note",
    "open_attempt",
    "prune_checkpoint",
    "put_first",
    "queue",
    "record",
    "remove",
    "require_ended",
    "say",
    "set_attempt_process",
    "set_note",
    "set_result",
    "set_state",
    "set_wanted",
    "stamps",
    "start_otherwise",
    "waiting",
]


def create(
    store: Store,
    *,
    name: str,
    base: str,
    snapshot: str,
    method: str,
    config: dict[str, Any],
    config_hash: str,
    seed: int,
) -> Run:
    """Makes a queued run. `snapshot` is a hash (or its beginning).

    Conflict when the name is taken, BadInput when it is no name.
    """
    check_name(name, "run", folder=True)
    with store.write() as conn:
        if store.scalar("SELECT 1 FROM run WHERE name = ?", (name,)):
            raise Conflict(f"A run {name!r} already exists.", todo="Choose another name, or remove that run first.")
        conn.execute(
            "INSERT INTO run (uid, name, base, method, snapshot_id, config, config_hash, seed, created_at, queued_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                new_uid(),
                name,
                base,
                method,
                _snapshot_id(store, snapshot),
                canonical(config),
                config_hash,
                seed,
                now(),
                _end_of_queue(store),
            ),
        )
        return get(store, name)


def _snapshot_id(store: Store, hash: str) -> int:
    return snapshot(store, hash).id


def get(store: Store, name: str) -> Run:
    """The run of this name. NotFound offers names that are near."""
    row = store.row(f"{_RUN} WHERE r.name = ?", (name,))
    if row is None:
        names = [found[0] for found in store.rows("SELECT name FROM run ORDER BY id DESC")]
        raise NotFound(f"There is no run {name!r}.", todo=near(name, names, "run", "tuningfork train --dataset NAME"))
    return run_from(row)


def by_id(store: Store, run_id: int) -> Run:
    """The run with this id; NotFound when it was removed."""
    row = store.row(f"{_RUN} WHERE r.id = ?", (run_id,))
    if row is None:
        raise NotFound("That run was removed.", todo="List the runs with: tuningfork runs list")
    return run_from(row)


def all_runs(store: Store) -> list[Run]:
    """Every run, newest first."""
    return [run_from(row) for row in store.rows(f"{_RUN} ORDER BY r.id DESC")]


def stamps(store: Store) -> dict[str, tuple[Any, ...]]:
    """What changes when a run does, by its uid, newest first: equal stamps, equal run. Cheaper than reading the runs.

    The running times of a live run are not part of its stamp.
    """
    sql = (
        "SELECT uid, name, state, wanted, step, total_steps, ended_at, result_step, note, (SELECT count(*) FROM"
        " checkpoint c WHERE c.run_id = run.id AND c.pruned_at IS NULL) FROM run ORDER BY id DESC"
    )
    return {row["uid"]: tuple(row) for row in store.rows(sql)}


def remove(store: Store, name: str) -> Path:
    """Removes a run with its attempts, metrics, events and checkpoints. Returns its folder, which the caller deletes.

    Conflict while a process works on it. Votes, evals and exports stay: they keep the run's name.
    """
    with store.write() as conn:
        run = get(store, name)
        if live_attempt(store, run.id):
            raise Conflict(f"The run {name!r} is still running.", todo=f"Stop it first: tuningfork runs stop {name}")
        conn.execute("DELETE FROM run WHERE id = ?", (run.id,))
    return store.home.run_dir(run.uid)


def set_wanted(store: Store, name: str, wanted: Wanted) -> Run:
    """Sets what a run should do; its worker reads it after its next step.

    A queued run that should stop is stopped at once.
    """
    if wanted not in get_args(Wanted):
        raise BadInput(
            f"{wanted!r} cannot be wanted.", where="wanted", todo=f"Use one of: {', '.join(get_args(Wanted))}."
        )
    with store.write() as conn:
        run = get(store, name)
        conn.execute("UPDATE run SET wanted = ? WHERE id = ?", (wanted, run.id))
        if run.state == "queued" and wanted != "run":
            conn.execute("UPDATE run SET state = 'stopped', ended_at = ? WHERE id = ?", (now(), run.id))
        return get(store, name)


def events(store: Store, run_id: int | None, after_id: int = 0, limit: int = 500) -> list[Event]:
    """The events of a run after `after_id`, oldest first."""
    sql = "SELECT * FROM event WHERE run_id IS ? AND id > ? ORDER BY id LIMIT ?"
    return [_event_from(row) for row in store.rows(sql, (run_id, after_id, limit))]


def last_event(store: Store, run_id: int) -> Event | None:
    """The newest event of a run, if any."""
    row = store.row("SELECT * FROM event WHERE run_id = ? ORDER BY id DESC LIMIT 1", (run_id,))
    return _event_from(row) if row else None


def _event_from(row: sqlite3.Row) -> Event:
    return Event(row["id"], row["run_id"], row["level"], row["kind"], json.loads(row["body"]), row["at"])


def metrics(store: Store, run_id: int, names: Sequence[str] | None = None, after_step: int = -1) -> list[Metric]:
    """A run's numbers after a step, by step then name; `names` limits which, and reads no others."""
    sql = "SELECT name, step, value, at FROM metric WHERE run_id = ? AND step > ?"
    values: tuple[Any, ...] = (run_id, after_step)
    if names is not None:
        sql += " AND name IN (SELECT value FROM json_each(?))"
        values = (*values, json.dumps(list(names)))
    return [Metric(*row) for row in store.rows(f"{sql} ORDER BY step, name", values)]


def metric_names(store: Store, run_id: int) -> list[str]:
    """What a run has numbers of, by the alphabet. Goes from name to name in the index, however many steps there are."""
    sql = (
        "WITH RECURSIVE each(name) AS (SELECT min(name) FROM metric WHERE run_id = ?1 UNION ALL"
        " SELECT (SELECT min(name) FROM metric WHERE run_id = ?1 AND name > each.name) FROM each"
        " WHERE each.name IS NOT NULL) SELECT name FROM each WHERE name IS NOT NULL"
    )
    return [row["name"] for row in store.rows(sql, (run_id,))]


def metrics_with_prefix(store: Store, run_id: int, prefix: str) -> list[Metric]:
    """A run's numbers whose names begin with `prefix`, by step then name; reads no others."""
    sql = "SELECT name, step, value, at FROM metric WHERE run_id = ? AND name >= ? AND name < ? ORDER BY step, name"
    return [Metric(*row) for row in store.rows(sql, (run_id, prefix, prefix + "\uffff"))]


def measured_at(store: Store, run_id: int, steps: Sequence[int]) -> dict[int, dict[str, float]]:
    """A run's numbers at these steps alone, by step and name; those that are not finite are left out."""
    sql = (
        "SELECT step, name, value FROM metric WHERE run_id = ? AND value IS NOT NULL"
        " AND step IN (SELECT value FROM json_each(?)) ORDER BY step, name"
    )
    found: dict[int, dict[str, float]] = {step: {} for step in steps}
    for row in store.rows(sql, (run_id, json.dumps(list(steps)))):
        found[row["step"]][row["name"]] = row["value"]
    return found


def checkpoints(store: Store, run_id: int) -> list[Checkpoint]:
    """The checkpoints that are still on the disk, oldest first."""
    return [
        Checkpoint(
            row["id"],
            row["run_id"],
            row["step"],
            row["path"],
            json.loads(row["manifest"]),
            row["val_loss"],
            row["created_at"],
        )
        for row in store.rows(
            "SELECT * FROM checkpoint WHERE run_id = ? AND pruned_at IS NULL ORDER BY step", (run_id,)
        )
    ]


def attempts(store: Store, run_id: int) -> list[Attempt]:
    """Every process that worked on a run, in order."""
    return [attempt_from(row) for row in store.rows("SELECT * FROM attempt WHERE run_id = ? ORDER BY n", (run_id,))]


def live_attempt(store: Store, run_id: int) -> Attempt | None:
    """The attempt of a run that has not ended, if any. Whether its process lives is for the engine to see."""
    row = store.row("SELECT * FROM attempt WHERE run_id = ? AND ended_at IS NULL", (run_id,))
    return attempt_from(row) if row else None


def live_attempts(store: Store) -> list[Attempt]:
    """Every attempt that has not ended, oldest first."""
    return [attempt_from(row) for row in store.rows("SELECT * FROM attempt WHERE ended_at IS NULL ORDER BY id")]


def next_queued(store: Store) -> Run | None:
    """The run that has waited longest."""
    row = store.row(f"{_RUN} WHERE r.state = 'queued' ORDER BY r.queued_at, r.id LIMIT 1")
    return run_from(row) if row else None


def waiting(store: Store) -> list[Run]:
    """The runs that wait, in the order in which they will start."""
    return [run_from(row) for row in store.rows(f"{_RUN} WHERE r.state = 'queued' ORDER BY r.queued_at, r.id")]


def put_first(store: Store, name: str) -> Run:
    """Lets a run that waits start before all others that wait. Conflict when it does not wait."""
    with store.write() as conn:
        run = get(store, name)
        if run.state != "queued":
            raise Conflict(f"Run {name} is {state_word(run.state)}.", todo="Only a run that waits can be moved up.")
        first = store.scalar("SELECT min(queued_at) - 1 FROM run WHERE state = 'queued'")
        conn.execute("UPDATE run SET queued_at = ? WHERE id = ?", (first, run.id))
        return get(store, name)


def queue(store: Store, name: str, resume_from: int | None = None) -> Run:
    """Puts a run that ended early back into the queue, to be resumed from the checkpoint at `resume_from` (None: from
    the start). Conflict when it is going, or succeeded."""
    with store.write() as conn:
        run = get(store, name)
        if run.state == "queued":
            return run
        if run.state not in END_STATES or run.state == "succeeded":
            raise Conflict(
                f"The run {name!r} is {state_word(run.state)}.",
                todo="Only a run that stopped, failed or was lost can be resumed.",
            )
        conn.execute(
            "UPDATE run SET state = 'queued', wanted = 'run', error = NULL, ended_at = NULL, repeats = 0,"
            " result_step = NULL, queued_at = ?, resume_from = ? WHERE id = ?",
            (_end_of_queue(store), resume_from, run.id),
        )
        return get(store, name)


def extend(store: Store, name: str, config: dict[str, Any], config_hash: str, total_steps: int) -> Run:
    """Gives a run that has ended a configuration with more steps. One that had succeeded is stopped from then on, until
    it has done them: it has no finished adapter meanwhile. Conflict when it has not ended."""
    with store.write() as conn:
        run = get(store, name)
        if run.state not in END_STATES:
            raise Conflict(f"Run {name} is {state_word(run.state)}.", todo="Wait until it has ended.")
        conn.execute(
            "UPDATE run SET config = ?, config_hash = ?, total_steps = ?, adapter = NULL,"
            " state = iif(state = 'succeeded', 'stopped', state) WHERE id = ?",
            (canonical(config), config_hash, total_steps, run.id),
        )
        return get(store, name)


def start_otherwise(store: Store, name: str, config: dict[str, Any]) -> None:
    """Gives a run that has ended a configuration that differs in how it is computed, so that its hash stays."""
    with store.write() as conn:
        if (run := get(store, name)).state not in END_STATES:
            raise Conflict(f"Run {name} is {state_word(run.state)}.", todo="Wait until it has ended.")
        conn.execute("UPDATE run SET config = ? WHERE id = ?", (canonical(config), run.id))


def keep_checkpoint(store: Store, run_id: int, step: int, path: str, manifest: dict[str, Any]) -> None:
    """Lists a checkpoint of a run that no process works on; `path` is relative to the home."""
    with store.write() as conn:
        conn.execute(
            "INSERT INTO checkpoint (run_id, step, path, manifest, created_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (run_id, step) DO UPDATE SET path = excluded.path, manifest = excluded.manifest,"
            " created_at = excluded.created_at, pruned_at = NULL",
            (run_id, step, path, canonical(manifest), now()),
        )


def set_note(store: Store, name: str, text: str) -> Run:
    """Keeps what you note about a run, on one line: line ends and runs of spaces become one space each. An empty text
    removes it. BadInput when it is longer than MOST_NOTED."""
    line = " ".join(text.split())
    if len(line) > MOST_NOTED:
        what = f"The note has {len(line):,} characters; {MOST_NOTED} are the most."
        raise BadInput(what, where=f"run {name}", todo="Say it in fewer words.")
    with store.write() as conn:
        conn.execute("UPDATE run SET note = ? WHERE id = ?", (line, get(store, name).id))
        return get(store, name)


def set_result(store: Store, name: str, step: int | None) -> Run:
    """Makes the checkpoint at `step` the run's result; None leaves it to what training kept. Whether its files are
    whole is for the engine to see. Conflict while the run has not ended, NotFound when there is no such checkpoint."""
    with store.write() as conn:
        run = require_ended(store, name)
        if step is not None:
            _saved(store, run, step)
        conn.execute("UPDATE run SET result_step = ? WHERE id = ?", (step, run.id))
        return get(store, name)


def drop_checkpoint(store: Store, name: str, step: int) -> Path:
    """Lists a checkpoint no longer. Returns its folder, which the caller deletes. Conflict while the run has not ended
    or when the checkpoint was made its result, NotFound when there is no such checkpoint."""
    with store.write() as conn:
        run = require_ended(store, name)
        found = _saved(store, run, step)
        if run.result_step == step:
            raise Conflict(
                f"The checkpoint at step {step} is the result of run {name}.", todo="Make another one the result first."
            )
        conn.execute("UPDATE checkpoint SET pruned_at = ? WHERE id = ?", (now(), found.id))
    return store.home.absolute(found.path)


def require_ended(store: Store, name: str) -> Run:
    """The run, if it has ended. Conflict while its process may still save and remove checkpoints."""
    run = get(store, name)
    if run.state not in END_STATES:
        raise Conflict(
            f"Run {name} is {state_word(run.state)}: its checkpoints are its own until it has ended.",
            todo=f"Wait for it, or stop it: tuningfork runs stop {name}",
        )
    return run


def _saved(store: Store, run: Run, step: int) -> Checkpoint:
    kept = {each.step: each for each in checkpoints(store, run.id)}
    if step not in kept:
        have = ", ".join(str(at) for at in sorted(kept)) or "none"
        raise NotFound(f"Run {run.name} has no checkpoint at step {step}.", todo=f"Its checkpoints: {have}.")
    return kept[step]


def note(store: Store, run_id: int, text: str, level: str = "info") -> None:
    """Adds a sentence to a run's log from outside its process."""
    with store.write() as conn:
        add_event(conn, run_id, text, kind="log", level=level, body={})


def _end_of_queue(store: Store) -> int:
    """A time after every other run's, also when two come in one millisecond."""
    return max(now(), store.scalar("SELECT coalesce(max(queued_at), 0) + 1 FROM run"))


def open_attempt(
    store: Store,
    run_id: int,
    *,
    host: str,
    pid: int,
    pid_started: float,
    token: str,
    log_path: str,
    resume_from: int | None = None,
) -> Attempt:
    """Opens the next attempt of a run and sets its state to starting.

    Conflict while another is live or a stop is wanted.
    """
    with store.write() as conn:
        run = by_id(store, run_id)
        if live_attempt(store, run_id):
            raise Conflict(
                f"A process works on the run {run.name!r} already.", todo=f"Watch it: tuningfork runs watch {run.name}"
            )
        if run.wanted != "run":  # stopped between being chosen from the queue and being started
            raise Conflict(f"The run {run.name!r} was stopped.", todo=f"Resume it: tuningfork runs resume {run.name}")
        at = now()
        conn.execute(
            "INSERT INTO attempt (run_id, n, host, pid, pid_started, token, log_path, resume_from,"
            " heartbeat_at, progress_at, started_at)"
            " VALUES (?1, (SELECT coalesce(max(n), 0) + 1 FROM attempt WHERE run_id = ?1), ?2, ?3, ?4, ?5, ?6,"
            " ?7, ?8, ?8, ?8)",
            (run_id, host, pid, pid_started, token, log_path, resume_from, at),
        )
        conn.execute(
            "UPDATE run SET state = 'starting', error = NULL, ended_at = NULL,"
            " started_at = coalesce(started_at, ?) WHERE id = ?",
            (at, run_id),
        )
        return attempts(store, run_id)[-1]


def set_attempt_process(store: Store, attempt_id: int, pid: int, pid_started: float) -> None:
    """Notes which process an attempt is, once it is known."""
    with store.write() as conn:
        conn.execute("UPDATE attempt SET pid = ?, pid_started = ? WHERE id = ?", (pid, pid_started, attempt_id))


def mark_lost(store: Store, attempt_id: int, why: str) -> None:
    """Ends an attempt whose process is gone; its run is lost and can be resumed.

    An attempt that ended meanwhile stays as it is.
    """
    _end_attempt(store, attempt_id, "lost", why)


def close_unstarted(store: Store, attempt_id: int, why: str) -> None:
    """Ends an attempt whose process could not be started; its run failed."""
    _end_attempt(store, attempt_id, "failed", why)


def _end_attempt(store: Store, attempt_id: int, state: str, why: str) -> None:
    with store.write() as conn:
        sql = "UPDATE attempt SET ended_at = ?, exit = ? WHERE id = ? AND ended_at IS NULL RETURNING run_id"
        ended: sqlite3.Row | None = conn.execute(sql, (now(), state, attempt_id)).fetchone()
        if ended:
            sql = "UPDATE run SET state = ?, error = ?, ended_at = ? WHERE id = ?"
            conn.execute(sql, (state, why, now(), ended["run_id"]))
            add_event(conn, ended["run_id"], why, kind="state", level="error", body={"state": state})
