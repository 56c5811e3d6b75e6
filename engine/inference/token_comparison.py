"""An answer's tokens under a tuned model and its base: how probable each finds every token, and what else it would
have written there. Plain records, as the chat server sends them; engine.inference.server.token_scores makes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that a model could have written, by its bytes, with its natural log probability."""

    id: int
    piece: bytes
    logprob: float

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "token": _text(self.piece), "logprob": self.logprob, "bytes": list(self.piece)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Alternative:
        return cls(raw["id"], bytes(raw["bytes"]), raw["logprob"])


@dataclass(frozen=True, slots=True)
class ComparedToken:
    """A token of the answer. `tuned` and `base` are its natural log probabilities after all tokens before it, before
    any sampling filter; the `top` of each are the likeliest tokens there, the best first."""

    id: int
    piece: bytes
    tuned: float
    base: float
    tuned_top: tuple[Alternative, ...] = ()
    base_top: tuple[Alternative, ...] = ()

    @property
    def difference(self) -> float:
        """By how much tuning raised the log probability, in nats: ln 2 says that it made the token twice as likely."""
        return self.tuned - self.base

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "token": _text(self.piece),
            "bytes": list(self.piece),
            "tuned": self.tuned,
            "base": self.base,
            "difference": self.difference,
            "tuned_top": [one.to_json() for one in self.tuned_top],
            "base_top": [one.to_json() for one in self.base_top],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ComparedToken:
        tops = (tuple(map(Alternative.from_json, raw[name])) for name in ("tuned_top", "base_top"))
        return cls(raw["id"], bytes(raw["bytes"]), raw["tuned"], raw["base"], *tops)


@dataclass(frozen=True, slots=True)
class TokenComparison:
    """All tokens of an answer of `model`, and of its `base`: the same weights without the adapter.

    Both read the same ids after the same prompt. `sampled` says that they are those that were sampled; else the
    answer's text was turned into tokens again. `dropped_turns` earlier messages did not fit into the context.
    `forkable`: the tokens follow the very prompt that chat sends, so another answer can begin with some of them.
    """

    model: str
    base: str
    backend: str
    sampled: bool
    prompt_tokens: int
    dropped_turns: int
    forkable: bool
    tokens: tuple[ComparedToken, ...]

    @property
    def tuned(self) -> float:
        """The answer's log-likelihood under the tuned model."""
        return math.fsum(token.tuned for token in self.tokens)

    @property
    def base_sum(self) -> float:
        """The answer's log-likelihood under the base."""
        return math.fsum(token.base for token in self.tokens)

    @property
    def difference(self) -> float:
        """The difference of the two, which is the sum over the tokens."""
        return math.fsum(token.difference for token in self.tokens)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "base": self.base,
            "backend": self.backend,
            "sampled": self.sampled,
            "prompt_tokens": self.prompt_tokens,
            "dropped_turns": self.dropped_turns,
            "forkable": self.forkable,
            "logprob": {"tuned": self.tuned, "base": self.base_sum, "difference": self.difference},
            "tokens": [token.to_json() for token in self.tokens],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> TokenComparison:
        """What `to_json` gave."""
        values = {each.name: raw[each.name] for each in fields(cls)}
        return cls(**values | {"tokens": tuple(map(ComparedToken.from_json, raw["tokens"]))})


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """Tokens that belong together because a character goes through them; nearly always one token.

    `first` is the place of its first token in the answer. Its log probabilities are the sums over its tokens: those of
    all its bytes.
    """

    first: int
    tokens: tuple[ComparedToken, ...]
    text: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _text(b"".join(token.piece for token in self.tokens)))

    @property
    def tuned(self) -> float:
        return math.fsum(token.tuned for token in self.tokens)

    @property
    def base(self) -> float:
        return math.fsum(token.base for token in self.tokens)

    @property
    def difference(self) -> float:
        return math.fsum(token.difference for token in self.tokens)

    @property
    def deciding(self) -> int:
        """The place in the answer of the span's token whose difference is the largest: its alternatives say most."""
        return self.first + max(range(len(self.tokens)), key=lambda n: abs(self.tokens[n].difference))

    def alternative_text(self, alternative: Alternative) -> str:
        """An alternative to the deciding token, with the bytes of the span before it: a whole character where the
        alternative completes one."""
        before = self.tokens[: self.deciding - self.first]
        return _text(b"".join(token.piece for token in before) + alternative.piece)


def spans(tokens: Sequence[ComparedToken]) -> list[TokenSpan]:
    """The tokens in order, joined where a character is not finished yet.

    >>> made = [ComparedToken(n, piece, -1.0, -2.0) for n, piece in enumerate((b"a", b"\\xe5", b"\\xb7\\xb4", b"!"))]
    >>> [(span.first, span.text, span.difference) for span in spans(made)]
    [(0, 'a', 1.0), (1, '巴', 2.0), (3, '!', 1.0)]
    """
    found: list[TokenSpan] = []
    begin, held = 0, b""
    for at, token in enumerate(tokens):
        held += token.piece
        if not _unfinished(held):
            found.append(TokenSpan(begin, tuple(tokens[begin : at + 1])))
            begin, held = at + 1, b""
    if begin < len(tokens):
        found.append(TokenSpan(begin, tuple(tokens[begin:])))
    return found


def _unfinished(raw: bytes) -> bool:
    """Whether `raw` ends in the beginning of a character that more bytes may complete."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def _text(raw: bytes) -> str:
    """Bytes as text; what is no character is spelled as `\\xe4`.

    >>> _text(b"\\xe4\\xbd!")
    '\\\\xe4\\\\xbd!'
    """
    return raw.decode("utf-8", "backslashreplace")
