"""The records that the server hands to a backend and gets back: a request for an answer, and how the answer ended.
Plain data; what a backend does with them is engine.inference.backends.base's."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from engine.inference.sampling import Sampling
from engine.models.refs import Resolved
from store.records import Message


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request for an answer. `lane` names a conversation side whose prefix may be kept; None keeps nothing.

    `asked` is the `perf_counter` time at which the request came in: the time to the first token counts from there.
    `text`, where given, is what to continue as it is, without a chat template, or `ids` are, where there are any; there
    are no messages then. `prefix` are the tokens that the answer must begin with; their text is given out with it.
    """

    model: Resolved
    messages: tuple[Message, ...]
    sampling: Sampling
    lane: str | None = None
    asked: float = field(default_factory=perf_counter)
    text: str | None = None
    prefix: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """How an answer ended, in tokens and milliseconds; see `engine.inference.client.Done` for the meaning of each.

    `note` is a sentence on what could not be done as asked, such as a field that another server refuses.
    `token_ids` are the answer's tokens, with the one that ended it; none where they are not known, or a stop text cut
    the answer.
    """

    stop: Literal["end", "length"]
    tokens: int
    prompt_tokens: int
    ttft_ms: float | None = None
    tokens_per_s: float | None = None
    context_used: int = 0
    context_size: int = 0
    dropped_turns: int = 0
    model: str = ""
    note: str = ""
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what a model thinks before it answers; no part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token by its bytes, with its natural log probability before any sampling filter, and the likeliest
    alternatives, the best first. Comes before the text of its token. Only the first token of an echoed prompt has no
    probability."""

    piece: bytes
    logprob: float | None
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of a given text, with its natural log probability after all before it, and the likeliest tokens there as
    (id, log probability), the best first."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """What one step of scoring gave: how many ids are read so far, and the tokens that were scored with it."""

    read: int
    tokens: tuple[ScoredToken, ...]


Piece = str | Reasoning | TokenLogprob
"""What an answer is made of, in the order in which it comes."""
