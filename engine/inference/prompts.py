"""From a conversation to the token ids that a model is given: the base model's own template, cut to what the context
holds. Knows no backend; both sides of a comparison get their ids from here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

from engine.models.template_texts import unfolded
from store.errors import BadInput
from store.records import Message

if TYPE_CHECKING:
    from engine.models.chat_template import Example

KEPT_FOR_ANSWER = 4
"""At most one part in this many of the context is kept free for the answer."""
_DROP_STEP = 4


class Template(Protocol):
    """What is needed of a chat template: `engine.models.chat_template.ChatTemplate`, or one read from a GGUF file."""

    @property
    def source(self) -> str: ...
    @property
    def stop_ids(self) -> Collection[int]: ...
    def encode(self, messages: Sequence[Message], thinking: bool | None = None) -> list[int]: ...
    def example(self, messages: Sequence[Message], max_length: int, *, last_turn: bool = False) -> Example: ...


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """Token ids that end with the generation prompt. `template` is the SHA-256 of the template's text, the
    model's own where a run folds the system text before it."""

    ids: list[int]
    stop_ids: frozenset[int]
    template: str
    dropped_turns: int = 0


@dataclass(frozen=True, slots=True)
class AnsweredPrompt:
    """Token ids of a conversation with its answer, whose first token is at `first`."""

    ids: list[int]
    first: int


def plain(ids: list[int], stop_ids: frozenset[int], context: int, max_tokens: int) -> EncodedPrompt:
    """A prompt of text that no template was put around. Raises BadInput when it does not fit."""
    fit = context - min(max_tokens, context // KEPT_FOR_ANSWER)
    if not ids or len(ids) > fit:
        raise BadInput(
            f"The prompt takes {len(ids):,} tokens, and from 1 to {fit:,} fit.",
            where="prompt",
            todo="Change its length.",
        )
    return EncodedPrompt(ids, stop_ids, "")


def build(
    template: Template, messages: Sequence[Message], context: int, max_tokens: int = 1, thinking: bool | None = None
) -> EncodedPrompt:
    """Render and encode. When it does not fit, the oldest turns are left out, never a system message or the last
    question.

    `context` is the model's size in tokens, of which space for `max_tokens` (at most a quarter) stays free; `thinking`
    goes to the template. Raises BadInput when even the last question alone does not fit, or the template refuses or
    leaves out a system message.
    """
    fit = context - min(max_tokens, context // KEPT_FOR_ANSWER)
    head = list(takewhile(_is_system, messages))
    turns = list(messages[len(head) :])

    def without(dropped: int) -> list[int]:
        kept = [*head, *filter(_is_system, turns[:dropped]), *turns[dropped:]]
        return list(template.encode(kept, thinking))

    ids, dropped = without(0), 0
    if len(ids) > fit:
        dropped = _fewest(turns, lambda n: len(without(n)) <= fit)
        ids = without(dropped)
    if len(ids) > fit:
        raise BadInput(
            f"The question is too long: with the system prompt it takes {len(ids):,} tokens, and {fit:,} fit.",
            where="messages",
            todo="Shorten the question or the system prompt.",
        )
    source = hashlib.sha256(unfolded(template.source).encode()).hexdigest()
    return EncodedPrompt(ids, frozenset(template.stop_ids), source, dropped)


def answered(template: Template, messages: Sequence[Message], context: int, *, ended: bool = True) -> AnsweredPrompt:
    """A conversation that ends with an answer, as training sees it; without the end of the turn unless it has `ended`.

    BadInput when it is longer than the context, or the template does not show the answer.
    """
    row = template.example(messages, context, last_turn=True)
    if row.truncated:
        raise BadInput(
            f"The conversation with its answer is longer than the context of {context:,} tokens.",
            where="messages",
            todo="Shorten it.",
        )
    unended = row.eot_trained and not ended and len(row.ids) - 1 > row.n_prompt
    return AnsweredPrompt(row.ids[:-1] if unended else row.ids, row.n_prompt)


def _is_system(message: Message) -> bool:
    return message["role"] == "system"


def _fewest(turns: Sequence[Message], fits: Callable[[int], bool]) -> int:
    """How many of the oldest turns to leave out: up to a question of the user, and not the last one.

    Rounded up to a multiple of four turns where there are that many, so that a long conversation keeps the same
    beginning (and its cached prefix) for some turns instead of losing it at each.
    """
    last = max((at for at, turn in enumerate(turns) if turn["role"] == "user"), default=len(turns) - 1)
    cuts = [at for at in range(1, last + 1) if turns[at]["role"] == "user"] or [last]
    low, high = 0, len(cuts) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(cuts[middle]) else (middle + 1, high)
    rounded = [cut for cut in cuts[low:] if cut % _DROP_STEP == 0]
    return rounded[0] if rounded else cuts[low]
