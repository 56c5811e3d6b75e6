"""ShareGPT: {"conversations": [{"from", "value"}, ...]} with an optional "system" beside it.
The speakers are human (or user), gpt (or assistant) and system."""

from __future__ import annotations

from typing import Any

from store.formats.base import Wrong, draft_of, text, turns_of
from store.records import Pair, PairDraft

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "chatgpt": "assistant",
}
NAMES = {"user": "human", "assistant": "gpt", "system": "system"}


def recognises(value: dict[str, Any]) -> bool:
    """Whether an object looks like this format."""
    return "conversations" in value


def parse(value: dict[str, Any]) -> PairDraft:
    """A row as a pair; Wrong names the field that is not as it should be."""
    if "conversations" not in value:
        raise Wrong("conversations", "is missing")
    turns = turns_of("conversations", value["conversations"], "from", "value", ROLES)
    return draft_of("conversations", turns, system=text(value, "system", default=""))


def dump(pair: Pair) -> dict[str, Any]:
    """A pair as a row."""
    return {"conversations": [{"from": NAMES[m["role"]], "value": m["content"]} for m in pair.messages()]}
