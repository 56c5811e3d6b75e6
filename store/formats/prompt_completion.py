"""Prompt and completion, as TRL reads them: {"prompt", "completion"}, both text or both lists of messages.
"question"/"answer" and "prompt"/"response" are read too; a pair with turns or a system text is written as messages."""

from __future__ import annotations

from typing import Any

from store.formats.base import Wrong, draft_of, text, turns_of
from store.formats.openai import ROLES
from store.records import Pair, PairDraft

_ASKED, _SAID = ("prompt", "question"), ("completion", "response", "answer")


def recognises(value: dict[str, Any]) -> bool:
    """Whether an object looks like this format."""
    return any(name in value for name in _ASKED) and any(name in value for name in _SAID)


def parse(value: dict[str, Any]) -> PairDraft:
    """A row as a pair; Wrong names the field that is not as it should be."""
    if isinstance(value.get("prompt"), list):
        asked = turns_of("prompt", value["prompt"], "role", "content", ROLES)
        return draft_of("completion", asked + turns_of("completion", value.get("completion"), "role", "content", ROLES))
    question, answer = text(value, *_ASKED), text(value, *_SAID)
    for field, found in (("prompt", question), ("completion", answer)):
        if not found.strip():
            raise Wrong(field, "is empty")
    return PairDraft(question, answer, text(value, "system", default=""))


def dump(pair: Pair) -> dict[str, Any]:
    """A pair as a row."""
    messages = pair.messages()
    if len(messages) == 2:
        return {"prompt": pair.question, "completion": pair.answer}
    return {"prompt": messages[:-1], "completion": messages[-1:]}
