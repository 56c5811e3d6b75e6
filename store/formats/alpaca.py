"""Alpaca: {"instruction", "input", "output"}, with optional "system" and "history" [[question, answer], ...].
Dolly's names ("context", "response") are read too. A question is written as instruction, with an empty input."""

from __future__ import annotations

from typing import Any

from store.formats.base import RecordFormat, register
from store.formats.conversation import ANSWERS, answered
from store.formats.fields import Fields
from store.records import Pair, PairDraft


@register
class Alpaca(RecordFormat):
    """Questions as instructions."""

    name = "alpaca"
    suffixes = (".json", ".jsonl")
    help = "instruction, output"
    rank = 40

    def recognises(self, fields: Fields) -> bool:
        """An instruction with an answer beside it."""
        return "instruction" in fields and fields.first(ANSWERS) is not None

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """The instruction is the question."""
        return answered(fields, ("instruction",), ANSWERS), ()

    def cannot_hold(self, item: Pair) -> str | None:
        """A history is question and answer in turn, and all of its answers are trained."""
        roles = [turn.role for turn in item.history]
        if len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
            return "earlier turns that are not question and answer in turn"
        return None if all(turn.train for turn in item.history) else "turns that are not to be trained"

    def dump(self, item: Pair) -> dict[str, Any]:
        """A pair as a row."""
        row: dict[str, Any] = {"instruction": item.question, "input": "", "output": item.answer}
        if item.system:
            row["system"] = item.system
        if item.history:
            said = [turn.content for turn in item.history]
            row["history"] = [list(two) for two in zip(said[::2], said[1::2], strict=True)]
        return row
