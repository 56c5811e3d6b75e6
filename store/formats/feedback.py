"""Feedback: {"prompt", "completion", "label"} as TRL's KTO trainer reads it, and any other row whose answer is judged.
Which fields are a judgement is decided in verdict.py."""

from __future__ import annotations

from typing import Any

from store.formats.base import Draft, RecordFormat, record_format, register
from store.formats.fields import Fields, Wrong
from store.formats.verdict import thumb_of
from store.records import Feedback


@register
class JudgedAnswers(RecordFormat):
    """One answer with a thumbs-up or thumbs-down."""

    name = "feedback"
    help = "prompt, completion, label"
    rank = 15
    holds = "feedback"

    def recognises(self, fields: Fields) -> bool:
        """A judgement beside a row that is a pair otherwise."""
        return thumb_of(fields) is not None and _pair_format(fields, self) is not None

    def parse(self, fields: Fields) -> tuple[Draft, tuple[str, ...]]:
        """The pair that the row is otherwise; what reads the row makes feedback of it."""
        if thumb_of(fields) is None:
            raise Wrong("label", "is missing, or neither true nor false")
        pair = _pair_format(fields, self)
        if pair is None:
            raise Wrong("prompt", "is missing")
        return pair.parse(fields)

    def dump(self, item: Feedback) -> dict[str, Any]:
        """A judged answer as TRL reads it: messages throughout, so that the trainer applies its template."""
        answer = [{"role": "assistant", "content": item.answer}]
        return {"prompt": item.prompt, "completion": answer, "label": item.good}


def _pair_format(fields: Fields, but: RecordFormat) -> RecordFormat | None:
    found = record_format(fields, but)
    return found if found is not None and found.holds == "pair" else None
