"""Answers that are in the store already to questions asked alone: of conversations in Compare and of evaluations.
Reads only; what the answers are good for is the engine's."""

from __future__ import annotations

import json
from collections.abc import Sequence

from store.db import Store
from store.records import Message

LoneQuestion = tuple[str, str]
"""System text and question."""


def lone_answers(store: Store, models: Sequence[str]) -> dict[tuple[str, LoneQuestion], str]:
    """The newest whole answer of each of `models` to each question that was asked without turns or examples before it,
    by model and question."""
    names = json.dumps(list(models))
    chats = (
        "SELECT a.model, coalesce(json_extract(c.meta, '$.system'), '') AS system, q.text AS asked, a.text"
        " FROM message q JOIN message a ON a.parent_id = q.id JOIN chat c ON c.id = q.chat_id"
        " WHERE q.parent_id IS NULL AND q.role = 'user' AND a.role = 'assistant'"
        " AND a.model IN (SELECT value FROM json_each(?)) AND json_extract(a.stats, '$.state') = 'done'"
        " AND json_extract(a.stats, '$.fork') IS NULL ORDER BY a.id"
    )
    evaluations = (
        "SELECT s.model, r.messages, a.text FROM evaluation_answer a"
        " JOIN evaluation_side s ON s.evaluation_id = a.evaluation_id AND s.ord = a.side"
        " JOIN evaluation_row r ON r.evaluation_id = a.evaluation_id AND r.ord = a.ord"
        " WHERE coalesce(json_extract(s.context, '$.kind'), 'none') = 'none' AND s.role <> 'floor'"
        " AND s.model IN (SELECT value FROM json_each(?))"
        " AND a.stop IN ('end', 'length') ORDER BY a.evaluation_id"
    )
    found: dict[tuple[str, LoneQuestion], str] = {}
    for row in store.rows(evaluations, (names,)):
        question = lone_question(json.loads(row["messages"]))
        if question is not None:
            found[row["model"], question] = row["text"]
    for row in store.rows(chats, (names,)):
        found[row["model"], (row["system"], row["asked"])] = row["text"]
    return found


def lone_question(messages: Sequence[Message]) -> LoneQuestion | None:
    """System text and question of messages that hold nothing else; None where a turn comes before the question.

    >>> lone_question([{"role": "user", "content": "Who?"}])
    ('', 'Who?')
    """
    match [(message["role"], message["content"]) for message in messages]:
        case [("user", asked)]:
            return "", asked
        case [("system", system), ("user", asked)]:
            return system, asked
    return None
