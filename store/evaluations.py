"""Evaluations: the rows that models were asked, who was asked, every answer, and the report on them.
Asking and measuring are the engine's; an answer that is here is never asked again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from store.canon import canonical
from store.db import Store, now
from store.errors import NotFound
from store.records import Message

EvaluationKind = Literal["evaluation", "verdict"]
SideRole = Literal["model", "against", "floor", "other"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation. `report` is None until every answer is there; `done` of `total` answers are."""

    id: int
    name: str
    kind: EvaluationKind
    plan: dict[str, Any]
    report: dict[str, Any] | None
    job_id: int | None
    created_at: int
    ended_at: int | None
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """A question of a part: `messages` end with the user's. `reference` is the answer it should get, `expect` what a
    judge looks for instead."""

    ord: int
    part: str
    messages: list[Message]
    reference: str | None = None
    expect: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The user's last words."""
        return self.messages[-1]["content"]


@dataclass(frozen=True, slots=True)
class EvaluationSide:
    """Who answers: a model, with `context` before the question, sampled as `sampling` says."""

    ord: int
    label: str
    model: str
    role: SideRole
    context: dict[str, Any]
    sampling: dict[str, Any]
    identity: str


@dataclass(frozen=True, slots=True)
class EvaluationAnswer:
    """What a side answered to a row. `loss` is the sum of -log p (natural) of the reference's `loss_tokens` tokens."""

    side: int
    ord: int
    text: str
    stop: str
    tokens: int
    prompt_tokens: int
    seconds: float
    tokens_per_s: float | None
    loss: float | None
    loss_tokens: int | None
    dropped_turns: int = 0


def create(
    store: Store,
    *,
    name: str,
    kind: EvaluationKind,
    plan: dict[str, Any],
    rows: Sequence[EvaluationRow],
    sides: Sequence[EvaluationSide],
) -> Evaluation:
    """Keep what is going to be asked."""
    with store.write() as conn:
        number = conn.execute(
            "INSERT INTO evaluation (name, kind, plan, created_at) VALUES (?, ?, ?, ?)",
            (name, kind, canonical(plan), now()),
        ).lastrowid
        conn.executemany(
            "INSERT INTO evaluation_row (evaluation_id, ord, part, messages, reference, expect)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(number, r.ord, r.part, canonical(r.messages), r.reference, canonical(r.expect)) for r in rows],
        )
        conn.executemany(
            "INSERT INTO evaluation_side (evaluation_id, ord, label, model, role, context, sampling, identity)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (number, s.ord, s.label, s.model, s.role, canonical(s.context), canonical(s.sampling), s.identity)
                for s in sides
            ],
        )
        return get(store, int(number or 0))


_COUNTED = (
    "SELECT e.*, (SELECT count(*) FROM evaluation_answer a WHERE a.evaluation_id = e.id) AS done,"
    " (SELECT count(*) FROM evaluation_row r WHERE r.evaluation_id = e.id)"
    " * (SELECT count(*) FROM evaluation_side s WHERE s.evaluation_id = e.id) AS total FROM evaluation e"
)


def get(store: Store, number: int) -> Evaluation:
    """The evaluation with this number. NotFound when there is none."""
    row = store.row(f"{_COUNTED} WHERE e.id = ?", (number,))
    if row is None:
        raise NotFound(f"There is no evaluation {number}.", todo="List them: tuningfork evaluations list")
    return _evaluation_from(row)


def all_evaluations(store: Store) -> list[Evaluation]:
    """Every evaluation, newest first."""
    return [_evaluation_from(row) for row in store.rows(f"{_COUNTED} ORDER BY e.id DESC")]


def rows(store: Store, number: int) -> list[EvaluationRow]:
    """What is asked, in its order."""
    found = store.rows("SELECT * FROM evaluation_row WHERE evaluation_id = ? ORDER BY ord", (number,))
    return [
        EvaluationRow(r["ord"], r["part"], json.loads(r["messages"]), r["reference"], json.loads(r["expect"]))
        for r in found
    ]


def sides(store: Store, number: int) -> list[EvaluationSide]:
    """Who is asked, in order."""
    found = store.rows("SELECT * FROM evaluation_side WHERE evaluation_id = ? ORDER BY ord", (number,))
    return [
        EvaluationSide(
            r["ord"], r["label"], r["model"], r["role"], json.loads(r["context"]), json.loads(r["sampling"]),
            r["identity"],
        )
        for r in found
    ]  # fmt: skip


def answers(store: Store, number: int) -> dict[tuple[int, int], EvaluationAnswer]:
    """The answers so far, by side and row."""
    fields = EvaluationAnswer.__dataclass_fields__
    found = store.rows("SELECT * FROM evaluation_answer WHERE evaluation_id = ?", (number,))
    return {(r["side"], r["ord"]): EvaluationAnswer(**{key: r[key] for key in fields}) for r in found}


def answer(store: Store, number: int, given: EvaluationAnswer) -> None:
    """Keep an answer; one that is there already stays."""
    fields = list(EvaluationAnswer.__dataclass_fields__)
    with store.write() as conn:
        conn.execute(
            f"INSERT INTO evaluation_answer (evaluation_id, {', '.join(fields)})"
            f" VALUES (?, {', '.join('?' * len(fields))}) ON CONFLICT DO NOTHING",
            (number, *(getattr(given, key) for key in fields)),
        )


def adopt(store: Store, number: int, sides: Sequence[int]) -> int:
    """Copy to these sides of an evaluation, which have no context, what the same weights answered to the same messages
    with the same sampling anywhere before, the newest first. Returns how many answers it has more."""
    fields = [key for key in EvaluationAnswer.__dataclass_fields__ if key not in ("side", "ord")]
    with store.write() as conn:
        return conn.execute(
            f"INSERT OR IGNORE INTO evaluation_answer (evaluation_id, side, ord, {', '.join(fields)})"
            f" SELECT s.evaluation_id, s.ord, r.ord, {', '.join('a.' + key for key in fields)} FROM evaluation_side s"
            " JOIN evaluation_row r ON r.evaluation_id = s.evaluation_id"
            " JOIN evaluation_side s2 ON s2.model = s.model AND s2.identity = s.identity AND s2.sampling = s.sampling"
            " AND s2.context = s.context"
            " JOIN evaluation_row r2 ON r2.evaluation_id = s2.evaluation_id AND r2.messages = r.messages"
            " AND r2.reference IS r.reference"
            " JOIN evaluation_answer a ON a.evaluation_id = s2.evaluation_id AND a.side = s2.ord AND a.ord = r2.ord"
            f" WHERE s.evaluation_id = ? AND s.context = '{{}}' AND s.ord IN ({', '.join('?' * len(sides))})"
            " ORDER BY a.evaluation_id DESC",
            (number, *sides),
        ).rowcount


def add_notes(store: Store, number: int, notes: Sequence[str]) -> None:
    """Add sentences to those that are read with the result."""
    with store.write() as conn:
        plan = get(store, number).plan
        plan["notes"] = [*plan["notes"], *notes]
        conn.execute("UPDATE evaluation SET plan = ? WHERE id = ?", (canonical(plan), number))


def set_job(store: Store, number: int, job_id: int) -> None:
    """Note the job that works on an evaluation."""
    with store.write() as conn:
        conn.execute("UPDATE evaluation SET job_id = ? WHERE id = ?", (job_id, number))


def finish(store: Store, number: int, report: dict[str, Any]) -> None:
    """Keep the report: every answer is there."""
    with store.write() as conn:
        conn.execute(
            "UPDATE evaluation SET report = ?, ended_at = coalesce(ended_at, ?) WHERE id = ?",
            (canonical(report), now(), number),
        )


def remove(store: Store, number: int) -> None:
    """Delete an evaluation with its answers. NotFound when there is none."""
    with store.write() as conn:
        get(store, number)
        conn.execute("DELETE FROM evaluation WHERE id = ?", (number,))


def _evaluation_from(row: sqlite3.Row) -> Evaluation:
    values = {key: row[key] for key in Evaluation.__dataclass_fields__}
    report = json.loads(row["report"]) if row["report"] else None
    return Evaluation(**values | {"plan": json.loads(row["plan"]), "report": report})
