"""Background jobs: long work in a process of its own, with its state, progress, events and end.
Training runs are jobs too, but keep their own tables (runs.py). Starting and ending processes is the engine's."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from store.canon import canonical
from store.db import Store, now
from store.errors import BadInput, NotFound, Superseded
from store.records import END_STATES, Job, JobEvent, JobProgress, RunState, Wanted

Level = Literal["info", "warning", "error"]


def create(store: Store, *, kind: str, name: str, module: str, request: Mapping[str, Any]) -> Job:
    """Queue a job. `module` is what `python -m` runs, `request` the JSON object that it works on."""
    with store.write() as conn:
        made = conn.execute(
            "INSERT INTO job (kind, name, module, request, token, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (kind, name, module, canonical(request), secrets.token_hex(16), now()),
        )
        return get(store, int(made.lastrowid or 0))


def get(store: Store, job_id: int) -> Job:
    """The job with this id; NotFound when there is none."""
    row = store.row("SELECT * FROM job WHERE id = ?", (job_id,))
    if row is None:
        raise NotFound(f"There is no job {job_id}.", todo="List them: tuningfork jobs list")
    return _job_from(row)


def all_jobs(store: Store, limit: int = 50) -> list[Job]:
    """The newest jobs, newest first."""
    return [_job_from(row) for row in store.rows("SELECT * FROM job ORDER BY id DESC LIMIT ?", (limit,))]


def unfinished(store: Store, kind: str | None = None) -> list[Job]:
    """The jobs that have not ended, oldest first: those that run and those that wait."""
    sql = "SELECT * FROM job WHERE ended_at IS NULL AND (?1 IS NULL OR kind = ?1) ORDER BY id"
    return [_job_from(row) for row in store.rows(sql, (kind,))]


def next_queued(store: Store, kind: str) -> Job | None:
    """The job that has waited longest; None when none waits or one of its kind has a process."""
    jobs = unfinished(store, kind)
    return None if any(job.state != "queued" for job in jobs) else next(iter(jobs), None)


def set_process(store: Store, job_id: int, *, host: str, pid: int, pid_started: float, log_path: str) -> None:
    """Note the process that a queued job was given; its state becomes starting."""
    with store.write() as conn:
        conn.execute(
            "UPDATE job SET state = 'starting', host = ?1, pid = ?2, pid_started = ?3, log_path = ?4,"
            " heartbeat_at = ?5, started_at = ?5 WHERE id = ?6 AND state = 'queued'",
            (host, pid, pid_started, log_path, now(), job_id),
        )


def set_wanted(store: Store, job_id: int, wanted: Wanted) -> Job:
    """Set what a job should do; its process reads it within a second. A queued job that should stop has stopped."""
    with store.write() as conn:
        job = get(store, job_id)
        if job.state not in END_STATES:
            conn.execute("UPDATE job SET wanted = ? WHERE id = ?", (wanted, job_id))
            if job.state == "queued" and wanted != "run":
                _end(conn, job_id, "stopped")
        return get(store, job_id)


def mark_ended(store: Store, job_id: int, state: RunState, error: Mapping[str, Any] | None = None) -> bool:
    """End a job whose process is gone or could not be started. False when it had ended already."""
    with store.write() as conn:
        return _end(conn, job_id, state, error=error)


def events(store: Store, job_id: int, after_id: int = 0) -> list[JobEvent]:
    """The events of a job after `after_id`, oldest first."""
    sql = "SELECT * FROM job_event WHERE job_id = ? AND id > ? ORDER BY id"
    fields = JobEvent.__dataclass_fields__
    return [JobEvent(**{key: row[key] for key in fields}) for row in store.rows(sql, (job_id, after_id))]


# ---------------------------------------------------------------- what the job's own process writes


def claim(store: Store, token: str) -> Job:
    """The job of this token, now running: what its process does first. Superseded when it has ended, or was never noted
    as started."""
    with store.write() as conn:
        job = _own(conn, token)
        if job["state"] != "starting":  # whoever started this process could not write down that it did
            raise _superseded()
        conn.execute("UPDATE job SET state = 'running', heartbeat_at = ? WHERE id = ?", (now(), job["id"]))
        return get(store, job["id"])


def beat(store: Store, token: str) -> None:
    """A heartbeat."""
    with store.write() as conn:
        conn.execute("UPDATE job SET heartbeat_at = ? WHERE id = ?", (now(), _own(conn, token)["id"]))


def wanted(store: Store, token: str) -> Wanted:
    """What the job should do now. Superseded when it has ended."""
    row = store.row("SELECT wanted FROM job WHERE token = ? AND ended_at IS NULL", (token,))
    if row is None:
        raise _superseded()
    found: Wanted = row["wanted"]
    return found


def set_state(store: Store, token: str, state: Literal["running", "stopping"]) -> None:
    """Move the job to another live state."""
    with store.write() as conn:
        conn.execute("UPDATE job SET state = ? WHERE id = ?", (state, _own(conn, token)["id"]))


def set_progress(store: Store, token: str, progress: JobProgress) -> None:
    """Overwrite how far the job is."""
    with store.write() as conn:
        conn.execute("UPDATE job SET progress = ? WHERE id = ?", (canonical(asdict(progress)), _own(conn, token)["id"]))


def say(store: Store, token: str, text: str, level: Level = "info") -> None:
    """Add an event: one sentence."""
    with store.write() as conn:
        conn.execute(
            "INSERT INTO job_event (job_id, level, text, at) VALUES (?, ?, ?, ?)",
            (_own(conn, token)["id"], level, text, now()),
        )


def finish(
    store: Store,
    token: str,
    state: RunState,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """End the job. `error` is `TuningforkError.as_dict`. BadInput when `state` is not an end state."""
    if state not in END_STATES:
        raise BadInput(f"{state!r} is not how a job ends.", where="state")
    with store.write() as conn:
        _end(conn, _own(conn, token)["id"], state, result=result, error=error)


def _end(
    conn: sqlite3.Connection,
    job_id: int,
    state: RunState,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> bool:
    sql = (
        "UPDATE job SET state = ?, ended_at = ?, error = ?, result = coalesce(?, result)"
        " WHERE id = ? AND ended_at IS NULL"
    )
    failure = None if error is None else canonical(error)
    values = (state, now(), failure, None if result is None else canonical(result), job_id)
    return conn.execute(sql, values).rowcount > 0


def _own(conn: sqlite3.Connection, token: str) -> sqlite3.Row:
    """The unfinished job of this token; Superseded when it has ended."""
    row: sqlite3.Row | None = conn.execute(
        "SELECT * FROM job WHERE token = ? AND ended_at IS NULL", (token,)
    ).fetchone()
    if row is None:
        raise _superseded()
    return row


def _superseded() -> Superseded:
    return Superseded("This job has ended.", todo="Another process ended it.")


def _job_from(row: sqlite3.Row) -> Job:
    values = {key: row[key] for key in Job.__dataclass_fields__}
    parsed = {name: json.loads(row[name]) for name in ("request", "result")}
    error = json.loads(row["error"]) if row["error"] else None
    return Job(**values | parsed | {"error": error, "progress": JobProgress(**json.loads(row["progress"]))})
