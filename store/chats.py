"""Conversations as trees of messages: an answer generated again is a sibling, a fork may start at any message.
Here messages are kept and found again; the engine decides who answers, and how."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, get_args

from store import search_text
from store.canon import canonical
from store.db import Store, now
from store.errors import BadInput, NotFound
from store.records import Chat, ChatMessage, Role


def create(store: Store, title: str = "", meta: dict[str, Any] | None = None) -> Chat:
    """Starts a conversation. `meta` holds the lanes' model references, the system prompt and the sampling."""
    with store.write() as conn:
        sql = "INSERT INTO chat (title, meta, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)"
        return get(store, int(conn.execute(sql, (title, canonical(meta or {}), now())).lastrowid or 0))


def get(store: Store, chat_id: int) -> Chat:
    """The conversation with this id."""
    row = store.row("SELECT * FROM chat WHERE id = ?", (chat_id,))
    if row is None:
        raise NotFound(f"There is no chat {chat_id}.", todo="It may have been removed; list the chats again.")
    return _chat_from(row)


def update(store: Store, chat_id: int, *, title: str | None = None, meta: dict[str, Any] | None = None) -> Chat:
    """Changes a conversation's title, its meta, or both."""
    with store.write() as conn:
        get(store, chat_id)
        conn.execute(
            "UPDATE chat SET title = coalesce(?, title), meta = coalesce(?, meta), updated_at = ? WHERE id = ?",
            (title, None if meta is None else canonical(meta), now(), chat_id),
        )
        return get(store, chat_id)


def append(
    store: Store,
    chat_id: int,
    role: Role,
    text: str,
    *,
    parent_id: int | None = None,
    lane: str = "",
    model: str | None = None,
    sampling: dict[str, Any] | None = None,
    stats: dict[str, Any] | None = None,
) -> ChatMessage:
    """Adds a message under `parent_id` (None: at the root).

    BadInput when the parent belongs to another conversation.
    """
    if role not in get_args(Role):
        raise BadInput(f"{role!r} is not a role.", where="role", todo=f"Use one of: {', '.join(get_args(Role))}.")
    with store.write() as conn:
        get(store, chat_id)
        if parent_id is not None and message(store, parent_id).chat_id != chat_id:
            raise BadInput(
                "That message belongs to another chat.", where="parent", todo="Answer a message of this chat."
            )
        at = now()
        made = conn.execute(
            "INSERT INTO message (chat_id, parent_id, lane, role, text, model, sampling, stats, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (chat_id, parent_id, lane, role, text, model, canonical(sampling or {}), canonical(stats or {}), at),
        )
        conn.execute("UPDATE chat SET updated_at = ? WHERE id = ?", (at, chat_id))
        return message(store, int(made.lastrowid or 0))


def message(store: Store, message_id: int) -> ChatMessage:
    """The message with this id."""
    row = store.row("SELECT * FROM message WHERE id = ?", (message_id,))
    if row is None:
        raise NotFound(f"There is no message {message_id}.", todo="It may have been removed; open the chat again.")
    return _message_from(row)


def tree(store: Store, chat_id: int) -> list[ChatMessage]:
    """Every message of a conversation, oldest first; `parent_id` makes the tree."""
    get(store, chat_id)
    return [_message_from(row) for row in store.rows("SELECT * FROM message WHERE chat_id = ? ORDER BY id", (chat_id,))]


def path(store: Store, message_id: int) -> list[ChatMessage]:
    """The messages from the root to this one: what a model reads before it answers."""
    message(store, message_id)
    sql = (
        "WITH RECURSIVE up (id, depth) AS (SELECT ?, 0 UNION ALL"
        " SELECT m.parent_id, up.depth + 1 FROM up JOIN message m ON m.id = up.id WHERE m.parent_id IS NOT NULL)"
        " SELECT m.* FROM up JOIN message m ON m.id = up.id ORDER BY up.depth DESC"
    )
    return [_message_from(row) for row in store.rows(sql, (message_id,))]


def search(store: Store, text: str) -> list[Chat]:
    """Conversations in which one message has every word of `text` (all for an empty text), the last used first."""
    match = search_text.expression(text)
    if match is None:
        return all_chats(store)
    sql = (
        "SELECT * FROM chat WHERE id IN (SELECT m.chat_id FROM message_fts f JOIN message m ON m.id = f.rowid"
        " WHERE message_fts MATCH ?) ORDER BY updated_at DESC, id DESC"
    )
    return [_chat_from(row) for row in store.rows(sql, (match,))]


def all_chats(store: Store) -> list[Chat]:
    """Every conversation, the last used first."""
    return [_chat_from(row) for row in store.rows("SELECT * FROM chat ORDER BY updated_at DESC, id DESC")]


def remove(store: Store, chat_id: int) -> None:
    """Removes a conversation and its messages; votes cast in it stay."""
    with store.write() as conn:
        get(store, chat_id)
        conn.execute("DELETE FROM chat WHERE id = ?", (chat_id,))


def _chat_from(row: sqlite3.Row) -> Chat:
    return Chat(row["id"], row["title"], json.loads(row["meta"]), row["created_at"], row["updated_at"])


def _message_from(row: sqlite3.Row) -> ChatMessage:
    values = {key: row[key] for key in ChatMessage.__dataclass_fields__}
    return ChatMessage(**values | {"sampling": json.loads(row["sampling"]), "stats": json.loads(row["stats"])})
