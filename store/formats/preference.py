"""Preferences: {"prompt", "chosen", "rejected"} as TRL reads them, text or messages, or the prompt in both answers.
Others' forms are read too: ShareGPT's and Alpaca's, OpenAI's preferred_output, and an answer beside a rejected one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from store.formats.base import RecordFormat, register
from store.formats.conversation import (
    ANSWERS,
    QUESTIONS,
    are_messages,
    history_of,
    question_of,
    system_of,
    turns_of,
)
from store.formats.fields import Fields, Wrong, as_list, as_text, is_empty
from store.formats.marked_text import turns_in
from store.formats.sharegpt import said
from store.formats.writing import write_json
from store.records import Preference, PreferenceDraft, Turn

CHOSEN = (
    "chosen", "chosen_response", "response_chosen", "answer_chosen", "preferred", "preferred_output", "response_j",
)  # fmt: skip
REJECTED = (
    "rejected", "rejected_response", "response_rejected", "answer_rejected", "rejected_output", "rejected_answer",
    "dispreferred", "non_preferred_output", "response_k",
)  # fmt: skip
_CONVERSATIONS = ("conversations", "conversation", "messages")


@register
class PreferencePairs(RecordFormat):
    """Two answers to one prompt, one preferred."""

    name = "preference"
    help = "prompt, chosen, rejected"
    rank = 10
    holds = "preference"

    def recognises(self, fields: Fields) -> bool:
        """A rejected answer, and one that was chosen (or just the answer)."""
        if _scored(fields):
            return True
        rejected = fields.peek(fields.first(REJECTED) or "")
        return not is_empty(rejected) and not isinstance(rejected, bool) and _chosen(fields) is not None

    def parse(self, fields: Fields) -> tuple[PreferenceDraft, tuple[str, ...]]:
        """The prompt with all that belongs to it, and the two answers."""
        if (scored := _scored(fields)) and fields.first(REJECTED) is None:
            return _best_and_worst(fields, scored), ()
        better, worse = _chosen(fields), fields.first(REJECTED)
        if better is None or worse is None:
            raise Wrong("rejected" if better else "chosen", "is missing")
        chosen, rejected = _answer(fields, better), _answer(fields, worse)
        if better in _CONVERSATIONS and len(rejected) == 1:
            chosen = chosen[-1:]
        prompt = _prompt(fields, "chosen" if len(chosen) > 1 else better)
        if not prompt:
            if chosen[:-1] != rejected[:-1] or len(chosen) < 2:
                raise Wrong("prompt", "is missing")
            prompt = chosen[:-1]
        elif max(len(chosen), len(rejected)) > 1:  # the whole conversation in both answers, and the prompt once more
            if chosen[:-1] != rejected[:-1]:
                raise Wrong(worse, f"does not answer the same conversation as {better}")
            system = [turn for turn in prompt[:1] if turn.role == "system" and chosen[0].role != "system"]
            asked = {turn.content for turn in chosen[:-1]}
            if any(turn.content not in asked for turn in prompt[len(system) :]):  # another conversation
                fields.skip("prompt (the answers hold another conversation)")
            prompt = system + chosen[:-1]
        if prompt[-1].role != "user":
            raise Wrong("prompt", "does not end with what the user asked")
        return PreferenceDraft(tuple(prompt), chosen[-1].content, rejected[-1].content), ()

    def dump(self, item: Preference) -> dict[str, Any]:
        """A preference as TRL reads it: messages throughout, so that the trainer applies its template."""
        answers = {"chosen": item.chosen, "rejected": item.rejected}
        return {"prompt": item.prompt} | {
            field: [{"role": "assistant", "content": text}] for field, text in answers.items()
        }


def _scored(fields: Fields) -> list[tuple[float, str]]:
    """The answers in a list of completions with scores, as UltraFeedback has it; empty when not two or more."""
    completions = fields.peek("completions")
    if not isinstance(completions, list) or not all(isinstance(each, dict) for each in completions):
        return []
    found = [(each.get("overall_score"), each.get("response")) for each in completions]
    scored = [
        (float(score), said)
        for score, said in found
        if isinstance(said, str) and isinstance(score, int | float) and not isinstance(score, bool)
    ]
    return scored if len(scored) == len(found) > 1 else []


def _best_and_worst(fields: Fields, scored: list[tuple[float, str]]) -> PreferenceDraft:
    """The answer with the highest score over that with the lowest. Wrong when all have the same."""
    fields.get("completions")
    best, worst = max(scored, key=lambda each: each[0]), min(scored, key=lambda each: each[0])
    if best[0] == worst[0]:
        raise Wrong("completions", "have the same score, so none is better")
    if len(scored) > 2:
        fields.skip("completions (between the best and the worst)")
    prompt = _prompt(fields, "completions")
    if not prompt:
        raise Wrong("instruction", "is missing")
    return PreferenceDraft(tuple(prompt), best[1], worst[1])


def _chosen(fields: Fields) -> str | None:
    return fields.first((*CHOSEN, *ANSWERS)) or fields.first(_CONVERSATIONS)  # ms-swift: the answer ends its messages


def _prompt(fields: Fields, better: str) -> list[Turn]:
    """What was asked, with its system text, history and context; empty when only the answers hold it."""
    inner = as_list(fields.peek("input"))
    if isinstance(inner, dict) and "messages" in inner:  # OpenAI's preference files
        return turns_of(fields, "input.messages", fields.get("input")["messages"])
    asked = fields.first(QUESTIONS)
    talk = fields.first(_CONVERSATIONS)
    if talk is not None and asked is None:
        turns = turns_of(fields, talk, fields.get(talk))
        if turns[-1].role == "assistant":  # the whole conversation, its last answer once more
            turns.pop()
    elif asked is not None and (isinstance(fields.peek(asked), list) or are_messages(as_list(fields.peek(asked)))):
        turns = turns_of(fields, asked, fields.get(asked))
    else:
        question = question_of(fields, QUESTIONS)
        turns = [*history_of(fields), Turn("user", question)] if question.strip() else []
    own = bool(turns) and turns[0].role == "system"
    system = "" if own or not turns else system_of(fields)
    return [Turn("system", system), *turns] if system else turns


def _answer(fields: Fields, field: str) -> list[Turn]:
    value = fields.get(field)
    if are_messages(as_list(value)):  # in a table they stand as text
        value = as_list(value)
    if isinstance(value, str) and (marked := turns_in(value)):  # a whole conversation as text, as Anthropic's HH has it
        turns = marked
    elif isinstance(value, dict | list):
        turns = turns_of(fields, field, [value] if isinstance(value, dict) else value)
    else:
        turns = [Turn("assistant", as_text(field, value))]
    if turns[-1].role != "assistant":
        raise Wrong(field, "does not end with an answer of the assistant")
    if not turns[-1].content.strip():
        raise Wrong(field, "is empty")
    return turns


def write_sharegpt(path: Path, preferences: Iterable[Preference]) -> int:
    """Preferences in ShareGPT's form; returns how many."""

    def row(preference: Preference) -> dict[str, Any]:
        answers = {"chosen": preference.chosen, "rejected": preference.rejected}
        return {"conversations": [said(message) for message in preference.prompt]} | {
            field: {"from": "gpt", "value": text} for field, text in answers.items()
        }

    return write_json(path, map(row, preferences))
