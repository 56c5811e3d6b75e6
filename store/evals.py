"""Evaluation results: which model answered which probe set, what it answered, and how a judge scored it.
The texts are kept, so that another judge can judge them again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Protocol

from store.canon import canonical
from store.db import Store, now
from store.errors import NotFound
from store.records import Eval, EvalItem


class JudgedAnswer(Protocol):
    """A question, the answer's text, and how a judge scored it; `passed` is None where it was not judged."""

    @property
    def question(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def passed(self) -> bool | None: ...
    @property
    def score(self) -> float | None: ...
    @property
    def reason(self) -> str: ...


def save(
    store: Store,
    *,
    run: str | None,
    model: str,
    set: str,
    items: Iterable[JudgedAnswer],
    judge: str = "contains",
    summary: dict[str, Any] | None = None,
) -> int:
    """Keeps a result and returns its id. `run` is a run's name, `model` a model reference, `judge` a judge's name."""
    rows = [
        (n, item.question, item.text, int(bool(item.passed)), int(item.passed is not None), item.score, item.reason)
        for n, item in enumerate(items)
    ]
    passed, judged = sum(row[3] for row in rows), sum(row[4] for row in rows)
    with store.write() as conn:
        eval_id = conn.execute(
            "INSERT INTO eval (run, run_id, model, set_name, passed, n, not_judged, summary, judge, created_at)"
            " VALUES (?1, (SELECT id FROM run WHERE name = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            (run, model, set, passed, judged, len(rows) - judged, canonical(summary or {}), judge, now()),
        ).lastrowid
        conn.executemany(
            "INSERT INTO eval_item (eval_id, ord, question, text, passed, judged, score, reason)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(eval_id, *row) for row in rows],
        )
        return int(eval_id or 0)


def get(store: Store, eval_id: int) -> Eval:
    """The result with this id."""
    row = store.row("SELECT * FROM eval WHERE id = ?", (eval_id,))
    if row is None:
        raise NotFound(f"There is no evaluation {eval_id}.", todo="List the evaluations to see their numbers.")
    return _eval_from(row)


def items(store: Store, eval_id: int) -> list[EvalItem]:
    """The answers of a result, in the order of its probes."""
    rows = store.rows("SELECT * FROM eval_item WHERE eval_id = ? ORDER BY ord", (get(store, eval_id).id,))
    return [
        EvalItem(r["question"], r["text"], bool(r["passed"]) if r["judged"] else None, r["score"], r["reason"])
        for r in rows
    ]


def all_evals(store: Store, run: str | None = None) -> list[Eval]:
    """Every result, newest first; of one run when it is named."""
    rows = store.rows("SELECT * FROM eval WHERE ?1 IS NULL OR run = ?1 ORDER BY id DESC", (run,))
    return [_eval_from(row) for row in rows]


def _eval_from(row: sqlite3.Row) -> Eval:
    summary = json.loads(row["summary"])
    return Eval(
        id=row["id"], run=row["run"], model=row["model"], set=row["set_name"], passed=row["passed"], of=row["n"],
        summary=summary, judge=row["judge"], created_at=row["created_at"],
        not_judged=row["not_judged"],
    )  # fmt: skip
