"""OpenAI messages: {"messages": [{"role", "content"}, ...]}, the last one the assistant's.
Roles are system (or developer), user and assistant; contents are text or lists of text parts."""

from __future__ import annotations

from typing import Any

from store.formats.base import Wrong, draft_of, turns_of
from store.records import Pair, PairDraft

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def recognises(value: dict[str, Any]) -> bool:
    """Whether an object looks like this format."""
    return "messages" in value


def parse(value: dict[str, Any]) -> PairDraft:
    """A row as a pair; Wrong names the field that is not as it should be."""
    if "messages" not in value:
        raise Wrong("messages", "is missing")
    return draft_of("messages", turns_of("messages", value["messages"], "role", "content", ROLES))


def dump(pair: Pair) -> dict[str, Any]:
    """A pair as a row."""
    return {"messages": pair.training_messages()}
