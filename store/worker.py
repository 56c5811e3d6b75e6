"""What the process that works on a run writes: state, numbers, words, heartbeats, checkpoints, the end.
Every write checks the attempt's token first: a process whose attempt has ended gets Superseded and changes nothing."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from typing import Any

from store.canon import canonical
from store.db import Store, now
from store.errors import BadInput, Superseded
from store.records import END_STATES, LIVE_STATES, Attempt, Run, RunState, Wanted, state_word

RUN_COLUMNS = "SELECT r.*, s.hash AS snapshot FROM run r JOIN snapshot s ON s.id = r.snapshot_id"


def claim(store: Store, token: str) -> tuple[Run, Attempt]:
    """The run and attempt of this token, with a first heartbeat: what a worker does first."""
    with store.write() as conn:
        attempt = _own(conn, token)
        conn.execute("UPDATE attempt SET heartbeat_at = ?1, progress_at = ?1 WHERE id = ?2", (now(), attempt["id"]))
        run = conn.execute(f"{RUN_COLUMNS} WHERE r.id = ?", (attempt["run_id"],)).fetchone()
        return run_from(run), attempt_from(_own(conn, token))


def held(store: Store, token: str) -> tuple[Run, Attempt]:
    """The run and attempt of this token, for a process beside the one that claims them: as `claim` it waits until they
    are written, and writes nothing."""
    with store.write() as conn:
        attempt = _own(conn, token)
        run = conn.execute(f"{RUN_COLUMNS} WHERE r.id = ?", (attempt["run_id"],)).fetchone()
        return run_from(run), attempt_from(attempt)


def set_state(
    store: Store, token: str, state: RunState, *, total_steps: int | None = None, env: Mapping[str, Any] | None = None
) -> None:
    """Moves the run to another live state; `total_steps` and `env` (versions, device, …) are set when given."""
    if state not in LIVE_STATES:
        raise BadInput(f"{state!r} is not a state of a running run.", where="state", todo="End a run with finish().")
    with store.write() as conn:
        run_id = _own(conn, token)["run_id"]
        conn.execute(
            "UPDATE run SET state = ?, total_steps = coalesce(?, total_steps), env = coalesce(?, env) WHERE id = ?",
            (state, total_steps, None if env is None else canonical(env), run_id),
        )
        add_event(conn, run_id, state, kind="state", level="info", body={"state": state})


def record(store: Store, token: str, step: int, values: Mapping[str, float | None]) -> None:
    """Keeps the numbers of a step and notes the progress.

    A step that is replayed overwrites; NaN and infinity become None.
    """
    at = now()
    with store.write() as conn:
        attempt = _own(conn, token)
        conn.executemany(
            "INSERT INTO metric (run_id, name, step, value, at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (run_id, name, step) DO UPDATE SET value = excluded.value, at = excluded.at",
            [(attempt["run_id"], name, step, _finite(value), at) for name, value in values.items()],
        )
        conn.execute("UPDATE run SET step = ? WHERE id = ?", (step, attempt["run_id"]))
        conn.execute("UPDATE attempt SET progress_at = ? WHERE id = ?", (at, attempt["id"]))


def say(store: Store, token: str, text: str, *, kind: str = "log", level: str = "info", **body: Any) -> None:
    """Adds an event: a sentence, and whatever else its kind needs."""
    with store.write() as conn:
        add_event(conn, _own(conn, token)["run_id"], text, kind=kind, level=level, body=body)


def beat(store: Store, token: str) -> Wanted:
    """A heartbeat; returns what the run should do."""
    with store.write() as conn:
        attempt = _own(conn, token)
        conn.execute("UPDATE attempt SET heartbeat_at = ? WHERE id = ?", (now(), attempt["id"]))
        wanted: Wanted = conn.execute("SELECT wanted FROM run WHERE id = ?", (attempt["run_id"],)).fetchone()[0]
        return wanted


def add_checkpoint(
    store: Store, token: str, step: int, path: str, manifest: Mapping[str, Any], val_loss: float | None = None
) -> None:
    """Notes a checkpoint that is complete on the disk; `path` is relative to the home. A replayed step overwrites."""
    with store.write() as conn:
        run_id = _own(conn, token)["run_id"]
        conn.execute(
            "INSERT INTO checkpoint (run_id, step, path, manifest, val_loss, created_at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (run_id, step) DO UPDATE SET path = excluded.path, manifest = excluded.manifest,"
            " val_loss = excluded.val_loss, created_at = excluded.created_at, pruned_at = NULL",
            (run_id, step, path, canonical(manifest), _finite(val_loss), now()),
        )
        add_event(conn, run_id, f"checkpoint at step {step}", kind="checkpoint", level="info", body={"step": step})


def prune_checkpoint(store: Store, token: str, step: int) -> None:
    """Notes that a checkpoint's files are about to go: it is no longer listed."""
    with store.write() as conn:
        run_id = _own(conn, token)["run_id"]
        conn.execute("UPDATE checkpoint SET pruned_at = ? WHERE run_id = ? AND step = ?", (now(), run_id, step))


def finish(
    store: Store,
    token: str,
    state: RunState,
    *,
    error: str | None = None,
    adapter: str | None = None,
    exit: str = "0",
    repeats: bool = False,
) -> None:
    """Ends the attempt and the run. `adapter` is the finished adapter's folder, relative to the home; `repeats` says
    that trying again would fail in the same way."""
    if state not in END_STATES:
        raise BadInput(
            f"{state!r} is not a state of a run that ended.", where="state", todo="Use set_state() for that."
        )
    at = now()
    with store.write() as conn:
        attempt = _own(conn, token)
        conn.execute("UPDATE attempt SET ended_at = ?, exit = ? WHERE id = ?", (at, exit, attempt["id"]))
        conn.execute(
            "UPDATE run SET state = ?, error = ?, repeats = ?, adapter = coalesce(?, adapter), ended_at = ?"
            " WHERE id = ?",
            (state, error, repeats, adapter, at, attempt["run_id"]),
        )
        level = "error" if state in ("failed", "lost") else "info"
        add_event(conn, attempt["run_id"], error or state_word(state), kind="state", level=level, body={"state": state})


def add_event(
    conn: sqlite3.Connection, run_id: int, text: str, *, kind: str, level: str, body: Mapping[str, Any]
) -> None:
    """Adds an event inside the open transaction."""
    sql = "INSERT INTO event (run_id, level, kind, body, at) VALUES (?, ?, ?, ?, ?)"
    conn.execute(sql, (run_id, level, kind, _valid(canonical({"text": text, **body})), now()))


def _own(conn: sqlite3.Connection, token: str) -> sqlite3.Row:
    """The live attempt of this token; Superseded when it has ended."""
    row: sqlite3.Row | None = conn.execute(
        "SELECT * FROM attempt WHERE token = ? AND ended_at IS NULL", (token,)
    ).fetchone()
    if row is None:
        raise Superseded("This attempt has ended.", todo="Another process owns the run now, or it was removed.")
    return row


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _valid(text: str) -> str:
    """What a log line says, even when it is not valid Unicode: a strange line must never end a run."""
    return text.encode(errors="replace").decode()


def run_from(row: sqlite3.Row) -> Run:
    """A `Run` from a row of `RUN_COLUMNS`."""
    values = {key: row[key] for key in Run.__dataclass_fields__}
    plain = {"config": json.loads(row["config"]), "env": json.loads(row["env"]), "repeats": bool(row["repeats"])}
    return Run(**values | plain)


def attempt_from(row: sqlite3.Row) -> Attempt:
    """An `Attempt` from a row of its table."""
    return Attempt(**{key: row[key] for key in Attempt.__dataclass_fields__})
