"""Preferences: {"prompt", "chosen", "rejected"} as TRL reads them, text or messages, or the prompt in both answers.
ShareGPT's and Alpaca's forms ("conversations" or "instruction" beside "chosen" and "rejected") are read too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from store.formats import openai, sharegpt
from store.formats.base import Wrong, as_text, text, turns_of, write_json
from store.records import Preference, PreferenceDraft, Turn


def recognises(value: dict[str, Any]) -> bool:
    """Whether an object looks like this format."""
    return "chosen" in value and "rejected" in value


def parse(value: dict[str, Any]) -> PreferenceDraft:
    """A row as a preference; Wrong names the field that is not as it should be."""
    for field in ("chosen", "rejected"):
        if value.get(field) is None:
            raise Wrong(field, "is missing")
    chosen, rejected = _answer("chosen", value["chosen"]), _answer("rejected", value["rejected"])
    prompt = _prompt(value)
    if not prompt:
        if chosen[:-1] != rejected[:-1] or len(chosen) < 2:
            raise Wrong("prompt", "is missing")
        prompt = chosen[:-1]
    elif max(len(chosen), len(rejected)) > 1:  # the whole conversation in both answers, and the prompt once more
        if chosen[:-1] != rejected[:-1]:
            raise Wrong("rejected", "does not answer the same conversation as chosen")
        prompt = chosen[:-1]
    if prompt[-1].role != "user":
        raise Wrong("prompt", "does not end with what the user asked")
    return PreferenceDraft(tuple(prompt), chosen[-1].content, rejected[-1].content)


def _prompt(value: dict[str, Any]) -> list[Turn]:
    system = text(value, "system", default="")
    head = [Turn("system", system)] if system else []
    if "conversations" in value:
        return head + turns_of("conversations", value["conversations"], "from", "value", sharegpt.ROLES)
    if isinstance(value.get("prompt"), list):
        return head + turns_of("prompt", value["prompt"], "role", "content", openai.ROLES)
    asked = [text(value, "prompt", "instruction", "question", default=""), text(value, "input", default="")]
    question = "\n".join(part for part in asked if part)
    return [*head, Turn("user", question)] if question.strip() else []


def _answer(field: str, value: Any) -> list[Turn]:
    if isinstance(value, str):
        turns = [Turn("assistant", value)]
    elif isinstance(value, dict) and "from" in value:
        turns = turns_of(field, [value], "from", "value", sharegpt.ROLES)
    elif isinstance(value, dict | list):
        turns = turns_of(field, [value] if isinstance(value, dict) else value, "role", "content", openai.ROLES)
    else:
        as_text(field, value)
    if turns[-1].role != "assistant":
        raise Wrong(field, "does not end with an answer of the assistant")
    if not turns[-1].content.strip():
        raise Wrong(field, "is empty")
    return turns


def dump(preference: Preference) -> dict[str, Any]:
    """A preference as TRL reads it: messages throughout, so that the template is the trainer's business."""
    answers = {"chosen": preference.chosen, "rejected": preference.rejected}
    return {"prompt": preference.prompt} | {
        field: [{"role": "assistant", "content": said}] for field, said in answers.items()
    }


def write_sharegpt(path: Path, preferences: Iterable[Preference]) -> int:
    """Preferences in ShareGPT's form; returns how many."""

    def row(preference: Preference) -> dict[str, Any]:
        talk = [{"from": sharegpt.NAMES[m["role"]], "value": m["content"]} for m in preference.prompt]
        answers = {"chosen": preference.chosen, "rejected": preference.rejected}
        return {"conversations": talk} | {field: {"from": "gpt", "value": said} for field, said in answers.items()}

    return write_json(path, map(row, preferences))
