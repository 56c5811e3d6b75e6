"""ShareGPT: {"conversations": [{"from", "value"}, ...]} with an optional "system" beside it.
The speakers are human (or user), gpt (or assistant) and system. A list of texts is what both said by turns: LIMA's
"conversations" and UltraChat's "data"."""

from __future__ import annotations

from typing import Any

from store.formats.base import RecordFormat, register
from store.formats.conversation import are_said_by_turns
from store.formats.fields import Fields
from store.formats.openai import conversation_in
from store.records import Message, Pair, PairDraft

NAMES = {"user": "human", "assistant": "gpt", "system": "system"}


@register
class ShareGPT(RecordFormat):
    """Conversations as lists of messages, each with its speaker."""

    name = "sharegpt"
    help = "conversations"
    rank = 30

    def recognises(self, fields: Fields) -> bool:
        """The list of messages."""
        return "conversations" in fields or "conversation" in fields or are_said_by_turns(fields.peek("data"))

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """The last trained answer and its question, with all before it."""
        return conversation_in(fields, "conversations", "conversation", "data")

    def dump(self, item: Pair) -> dict[str, Any]:
        """A pair as a row."""
        return {"conversations": [said(message) for message in item.training_messages()]}


def said(message: Message) -> dict[str, Any]:
    """A message in ShareGPT's words; a weight of 0 stays beside it, as Axolotl reads it."""
    rest = {key: value for key, value in message.items() if key not in ("role", "content")}
    return {"from": NAMES[message["role"]], "value": message["content"]} | rest
