"""Prompt and completion, as TRL reads them: {"prompt", "completion"}, both text or both lists of messages.
"question"/"answer" and other such names are read too; a pair with turns or a system text is written as messages."""

from __future__ import annotations

from typing import Any

from store.formats.base import RecordFormat, register
from store.formats.conversation import (
    ANSWERS,
    answered,
    are_messages,
    split_conversation,
    system_of,
    turns_of,
)
from store.formats.fields import Fields, as_list
from store.records import Pair, PairDraft

_ASKED = ("prompt", "question", "query", "input", "q", "user", "human")
_SAID = ("completion", "response", "answer", "output", "a", "assistant", "bot", "gpt")


@register
class PromptCompletion(RecordFormat):
    """A question column and an answer column."""

    name = "prompt-completion"
    help = "prompt, completion; question, answer"
    rank = 50

    def recognises(self, fields: Fields) -> bool:
        """A prompt and a completion."""
        return fields.first(_ASKED) is not None and fields.first(ANSWERS) is not None

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """Text columns, or the messages of both one after the other."""
        if isinstance(fields.peek("prompt"), list) or are_messages(as_list(fields.peek("prompt"))):
            turns = turns_of(fields, "prompt", fields.get("prompt"))
            said = fields.first(_SAID) or "completion"
            turns += turns_of(fields, said, fields.get(said))
            return split_conversation(said, turns, "" if turns[0].role == "system" else system_of(fields))
        return answered(fields, _ASKED, _SAID), ()

    def cannot_hold(self, item: Pair) -> str | None:
        """Every answer is trained."""
        return None if all(turn.train for turn in item.history) else "turns that are not to be trained"

    def dump(self, item: Pair) -> dict[str, Any]:
        """A pair as a row."""
        messages = item.messages()
        if len(messages) == 2:
            return {"prompt": item.question, "completion": item.answer}
        return {"prompt": messages[:-1], "completion": messages[-1:]}
