"""Conversations in one text with a mark before each turn: {"text": "### Human: … ### Assistant: …"}.
Guanaco's marks, those of Alpaca's prompt, Anthropic's HH, Zephyr, Llama 2 and ChatML are read; ChatML is written."""

from __future__ import annotations

import re
from typing import Any

from store.formats.base import RecordFormat, register
from store.formats.conversation import split_conversation
from store.formats.fields import Fields, Wrong
from store.records import Pair, PairDraft, Role, Turn

_FAMILIES: tuple[tuple[re.Pattern[str], dict[str, Role]], ...] = (
    (
        re.compile(r"<\|im_start\|>(system|user|assistant)\n|<\|im_end\|>\s*"),
        {"system": "system", "user": "user", "assistant": "assistant"},
    ),
    (
        re.compile(r"<\|(system|user|assistant)\|>\n?|</s>\s*|<\|end\|>\s*"),
        {"system": "system", "user": "user", "assistant": "assistant"},
    ),
    (re.compile(r"\s*###\s*(Human|Assistant|System)\s*:[ \t]?"),
     {"Human": "user", "Assistant": "assistant", "System": "system"}),
    (re.compile(r"\s*###\s*(Instruction|Response|Input)\s*:\s*"),
     {"Instruction": "user", "Response": "assistant", "Input": "user"}),
    (re.compile(r"(?:\A\s*|\n\n)(Human|Assistant)\s*:[ \t]?"), {"Human": "user", "Assistant": "assistant"}),
)  # fmt: skip
"""What stands between turns, by family of prompts: its group is the speaker who begins; none means that a turn ends."""
_LLAMA = re.compile(r"(?:<s>)?\s*\[INST\](.*?)\[/INST\](.*?)(?=</s>|(?:<s>)?\s*\[INST\]|\Z)(?:\s*</s>)?", re.DOTALL)
_LLAMA_SYSTEM = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>(.*)", re.DOTALL)
_CHATML = re.compile(r"<\|im_(start|end)\|>")


def turns_in(text: str) -> list[Turn]:
    """The turns of a text with marks of one of the families; empty when it has none for both speakers.

    >>> [(turn.role, turn.content) for turn in turns_in("### Human: Hi### Assistant: Hello")]
    [('user', 'Hi'), ('assistant', 'Hello')]
    """
    if "[INST]" in text:
        return _llama(text)
    for marks, speakers in _FAMILIES:
        found = [each for each in marks.finditer(text) if each[1]]
        if {speakers[each[1]] for each in found} >= {"user", "assistant"}:
            return _between(text, marks, speakers)
    return []


def _between(text: str, marks: re.Pattern[str], speakers: dict[str, Role]) -> list[Turn]:
    turns: list[Turn] = []
    who: Role | None = "system"  # text before the first mark: what a prompt begins with
    at = 0
    for mark in [*marks.finditer(text), None]:
        said = text[at : mark.start() if mark else len(text)].strip()
        if said and who is not None:
            if turns and turns[-1].role == who == "user":  # Alpaca's input belongs to its instruction
                turns[-1] = Turn("user", f"{turns[-1].content}\n{said}")
            else:
                turns.append(Turn(who, said))
        if mark:
            who, at = speakers[mark[1]] if mark[1] else None, mark.end()
    return turns


def _llama(text: str) -> list[Turn]:
    turns: list[Turn] = []
    for asked, said in _LLAMA.findall(text):
        if not turns and (system := _LLAMA_SYSTEM.match(asked)):
            turns.append(Turn("system", system[1].strip()))
            asked = system[2]
        turns += [Turn("user", asked.strip()), Turn("assistant", said.strip())]
    return turns


@register
class MarkedText(RecordFormat):
    """A whole conversation as one text."""

    name = "text"
    help = "text with marks such as ### Human:"
    rank = 60

    def recognises(self, fields: Fields) -> bool:
        """A text with the marks of both speakers."""
        text = fields.peek("text")
        return isinstance(text, str) and bool(turns_in(text))

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """The last answer and its question, with all before it."""
        turns = turns_in(fields.text("text"))
        if not turns:
            raise Wrong("text", "has no marks that show who says what, such as ### Human: and ### Assistant:")
        return split_conversation("text", turns)

    def cannot_hold(self, item: Pair) -> str | None:
        """A text that has the marks itself would be cut there, and spaces at its ends are lost."""
        if not all(turn.train for turn in item.history):
            return "turns that are not to be trained"
        said = [message["content"] for message in item.messages()]
        if any(_CHATML.search(text) for text in said):
            return "marks of ChatML in its text"
        return "spaces around a text" if any(text != text.strip() or not text for text in said) else None

    def dump(self, item: Pair) -> dict[str, Any]:
        """A pair as a row."""
        said = [f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in item.messages()]
        return {"text": "".join(said)}
