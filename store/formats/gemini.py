"""Gemini: {"contents": [{"role", "parts": [{"text"}]}, ...]} with an optional "systemInstruction" beside it.
The speakers are user and model."""

from __future__ import annotations

from typing import Any

from store.formats.base import RecordFormat, register
from store.formats.conversation import split_conversation, turns_of
from store.formats.fields import Fields
from store.records import Pair, PairDraft

_SYSTEMS = ("systeminstruction", "system_instruction")


@register
class GeminiContents(RecordFormat):
    """Conversations as Google's tuning files have them."""

    name = "gemini"
    help = "contents"
    rank = 25

    def recognises(self, fields: Fields) -> bool:
        """A list of contents with parts."""
        value = fields.peek("contents")
        return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "parts" in value[0]

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """The last answer and its question, with all before it."""
        turns = turns_of(fields, "contents", fields.get("contents"))
        system = ""
        if name := fields.first(_SYSTEMS):
            said = fields.get(name)
            said = {"role": "system", **said} if isinstance(said, dict) else {"role": "system", "content": said}
            system = turns_of(fields, name, [{**said, "role": "system"}])[0].content
        return split_conversation("contents", turns, system)

    def cannot_hold(self, item: Pair) -> str | None:
        """Every answer is trained."""
        return None if all(turn.train for turn in item.history) else "turns that are not to be trained"

    def dump(self, item: Pair) -> dict[str, Any]:
        """A pair as a row."""
        names = {"user": "user", "assistant": "model"}
        said = [message for message in item.messages() if message["role"] != "system"]
        row: dict[str, Any] = {
            "contents": [{"role": names[each["role"]], "parts": [{"text": each["content"]}]} for each in said]
        }
        if item.system:
            row["systemInstruction"] = {"role": "system", "parts": [{"text": item.system}]}
        return row
