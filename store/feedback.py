"""Feedback: single answers that were judged good or bad, kept in datasets beside pairs.
Which fields of a file are a judgement is decided in formats/verdict.py."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from store import datasets
from store.canon import canonical, new_uid, sha256
from store.db import Store, now
from store.edits import recording
from store.errors import BadInput
from store.pairs import check_text
from store.records import Feedback, FeedbackDraft, Split
from store.sqlite import insert_rows


def add_feedback(
    store: Store, drafts: Iterable[FeedbackDraft], *, dataset: str | None = None, split: Split = "train"
) -> tuple[int, int]:
    """Keeps judged answers in a dataset (made when missing); returns how many are new and how many were known there.

    BadInput names a field that is wrong; then none of them is kept.
    """
    with store.write() as conn, recording(store, "import feedback"):
        dataset_id = datasets.ensure(store, dataset).id if dataset is not None else None
        rows = []
        for draft in drafts:
            check_feedback(draft)
            prompt = canonical([turn.message() for turn in draft.prompt])
            digest = sha256(canonical([prompt, draft.answer, draft.good]))
            source = canonical(draft.source)
            rows.append((new_uid(), prompt, draft.answer, int(draft.good), source, digest, dataset_id, split, now()))
        into = "feedback (uid, prompt, answer, good, source, content_hash, dataset_id, split, created_at)"
        kept = insert_rows(conn, into, rows, "ON CONFLICT DO NOTHING")
    return kept, len(rows) - kept


def list_feedback(store: Store, dataset: str | None = None, split: Split | None = None) -> list[Feedback]:
    """Every judged answer, oldest first; of one dataset or split when they are named."""
    sql = (
        "SELECT f.*, d.name AS dataset FROM feedback f LEFT JOIN dataset d ON d.id = f.dataset_id"
        " WHERE (?1 IS NULL OR d.name = ?1) AND (?2 IS NULL OR f.split = ?2) ORDER BY f.id"
    )
    return [_feedback_from(row) for row in store.rows(sql, (dataset, split))]


def count_feedback(store: Store, dataset: str | None = None) -> int:
    """How many judged answers there are, in all or in a dataset."""
    sql = "SELECT count(*) FROM feedback"
    if dataset is None:
        return int(store.scalar(sql))
    return int(store.scalar(sql + " WHERE dataset_id = (SELECT id FROM dataset WHERE name = ?)", (dataset,)))


def check_feedback(draft: FeedbackDraft) -> FeedbackDraft:
    """`draft` itself when it can be kept; BadInput names the field that cannot."""
    for turn in draft.prompt:
        check_text("prompt", turn.content)
    check_text("answer", draft.answer)
    if not draft.answer.strip():
        raise BadInput("The answer is empty.", where="answer", todo="Remove the row: it judges nothing.")
    if not draft.prompt or draft.prompt[-1].role != "user" or not draft.prompt[-1].content.strip():
        raise BadInput(
            "The prompt does not end with a user message.", where="prompt", todo="End the prompt with a user message."
        )
    return draft


def _feedback_from(row: sqlite3.Row) -> Feedback:
    return Feedback(
        id=row["id"],
        uid=row["uid"],
        prompt=json.loads(row["prompt"]),
        answer=row["answer"],
        good=bool(row["good"]),
        dataset=row["dataset"],
        split=row["split"],
        source=json.loads(row["source"]),
        created_at=row["created_at"],
    )
