"""Alpaca: {"instruction", "input", "output"}, with optional "system" and "history" [[question, answer], ...].
Dolly's names ("context", "response") are read too. A question is written as instruction, with an empty input."""

from __future__ import annotations

from typing import Any

from store.errors import Unsupported
from store.formats.base import Wrong, as_text, text
from store.records import Pair, PairDraft, Turn


def recognises(value: dict[str, Any]) -> bool:
    """Whether an object looks like this format."""
    return "instruction" in value and bool({"output", "response"} & value.keys())


def parse(value: dict[str, Any]) -> PairDraft:
    """A row as a pair; Wrong names the field that is not as it should be."""
    asked = [text(value, "instruction"), text(value, "input", "context", default="")]
    question = "\n".join(part for part in asked if part)
    if not question.strip():
        raise Wrong("instruction", "is empty")
    answer = text(value, "output", "response")
    if not answer.strip():
        raise Wrong("output", "is empty")
    return PairDraft(question, answer, text(value, "system", default=""), _history(value.get("history")))


def _history(value: Any) -> tuple[Turn, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in value):
        raise Wrong("history", "is not a list of [question, answer] pairs")
    return tuple(
        Turn(role, as_text(f"history[{n}]", said))  # type: ignore[arg-type]
        for n, turn in enumerate(value)
        for role, said in zip(("user", "assistant"), turn, strict=True)
    )


def dump(pair: Pair) -> dict[str, Any]:
    """A pair as a row; Unsupported when its history is not question and answer in turn."""
    row: dict[str, Any] = {"instruction": pair.question, "input": "", "output": pair.answer}
    if pair.system:
        row["system"] = pair.system
    if pair.history:
        roles = [turn.role for turn in pair.history]
        if len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
            what = "its earlier turns are not question and answer in turn, which Alpaca cannot say"
            raise Unsupported(what, where=f"pair {pair.uid}", todo="Export as openai.")
        said = [turn.content for turn in pair.history]
        row["history"] = [list(two) for two in zip(said[::2], said[1::2], strict=True)]
    return row
