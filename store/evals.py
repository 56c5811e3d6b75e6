"""Results of exams: which model sat which probe set, what it answered, what passed.
The texts are kept, so that another judge can judge again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Protocol

from store.canon import canonical
from store.db import Store, now
from store.errors import NotFound
from store.records import Eval, EvalItem


class Judged(Protocol):
    """Anything that has a question, the answer's text and whether it passed."""

    @property
    def question(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def passed(self) -> bool: ...


def save(
    store: Store,
    *,
    run: str | None,
    model: str,
    set: str,
    items: Iterable[Judged],
    summary: dict[str, Any] | None = None,
) -> int:
    """Keeps a result and returns its id. `run` is a run's name, `model` a model reference."""
    rows = [(n, item.question, item.text, int(item.passed)) for n, item in enumerate(items)]
    with store.write() as conn:
        eval_id = conn.execute(
            "INSERT INTO eval (run, run_id, model, set_name, passed, n, summary, created_at)"
            " VALUES (?1, (SELECT id FROM run WHERE name = ?1), ?2, ?3, ?4, ?5, ?6, ?7)",
            (run, model, set, sum(row[3] for row in rows), len(rows), canonical(summary or {}), now()),
        ).lastrowid
        sql = "INSERT INTO eval_item (eval_id, ord, question, text, passed) VALUES (?, ?, ?, ?, ?)"
        conn.executemany(sql, [(eval_id, *row) for row in rows])
        return int(eval_id or 0)


def get(store: Store, eval_id: int) -> Eval:
    """The result with this id."""
    row = store.row("SELECT * FROM eval WHERE id = ?", (eval_id,))
    if row is None:
        raise NotFound(f"there is no eval {eval_id}", todo="List the evals to see their numbers.")
    return _eval_from(row)


def items(store: Store, eval_id: int) -> list[EvalItem]:
    """The answers of a result, in the order of its probes."""
    rows = store.rows(
        "SELECT question, text, passed FROM eval_item WHERE eval_id = ? ORDER BY ord", (get(store, eval_id).id,)
    )
    return [EvalItem(row["question"], row["text"], bool(row["passed"])) for row in rows]


def all_evals(store: Store, run: str | None = None) -> list[Eval]:
    """Every result, newest first; of one run when it is named."""
    rows = store.rows("SELECT * FROM eval WHERE ?1 IS NULL OR run = ?1 ORDER BY id DESC", (run,))
    return [_eval_from(row) for row in rows]


def _eval_from(row: sqlite3.Row) -> Eval:
    summary = json.loads(row["summary"])
    return Eval(
        row["id"], row["run"], row["model"], row["set_name"], row["passed"], row["n"], summary, row["created_at"]
    )
