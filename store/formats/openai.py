"""OpenAI messages: {"messages": [{"role", "content"}, ...]}, the last one the assistant's; a weight of 0 is kept.
Roles are system (or developer), user and assistant; contents are text or lists of text parts."""

from __future__ import annotations

from typing import Any

from store.formats.base import RecordFormat, register
from store.formats.conversation import split_conversation, system_of, turns_of
from store.formats.fields import Fields, Wrong
from store.records import Pair, PairDraft


@register
class OpenAIMessages(RecordFormat):
    """Conversations as lists of messages."""

    name = "openai"
    help = "messages"
    rank = 20

    def recognises(self, fields: Fields) -> bool:
        """A list of messages."""
        return "messages" in fields

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """The last trained answer and its question, with all before it."""
        return conversation_in(fields, "messages")

    def dump(self, item: Pair) -> dict[str, Any]:
        """A pair as a row."""
        return {"messages": item.training_messages()}


def conversation_in(fields: Fields, *names: str) -> tuple[PairDraft, tuple[str, ...]]:
    """The conversation in the first of these fields; a system field beside it counts when it has none of its own."""
    name = fields.first(names)
    if name is None:
        raise Wrong(names[0], "is missing")
    turns = turns_of(fields, name, fields.get(name))
    own = turns[0].role == "system"
    return split_conversation(name, turns, "" if own else system_of(fields))
