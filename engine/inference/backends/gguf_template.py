"""Chat template and tokens of a bare GGUF file: the template text of its metadata, the ids of llama.cpp's vocabulary.
`engine.models.chat_template` renders, so a file and the prepared folder of the same model give the same prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tokenizers import Tokenizer

from engine.gguf.llama_library import LlamaModel
from engine.models.chat_template import ChatTemplate, Example
from store.errors import Unsupported
from store.records import Message


class GgufTemplate:
    """A template over loaded weights; must not outlive them. Raises Unsupported when the file carries none."""

    stop_ids: frozenset[int] = frozenset()
    """Empty: the vocabulary itself tells llama.cpp which tokens end a turn."""

    def __init__(self, weights: LlamaModel) -> None:
        source = weights.meta("tokenizer.chat_template")
        if not source:
            raise Unsupported(
                "This GGUF file has no chat template, so it cannot be used for chat.",
                where=str(weights.path),
                todo="Use a chat (instruct) model, or a Hugging Face folder with a template.",
            )
        special = {f"{name}_token": text for name in ("bos", "eos", "pad") if (text := _special(weights, name))}
        vocabulary = cast(Tokenizer, _Vocabulary(weights))
        self._template = ChatTemplate(vocabulary, source, special, where=str(weights.path))
        self.source = source

    def encode(self, messages: Sequence[Message], thinking: bool | None = None) -> list[int]:
        """Ids of the conversation and the opening of the next answer. BadInput when the template refuses it."""
        return self._template.encode(messages, thinking)

    def example(self, messages: Sequence[Message], max_length: int, *, last_turn: bool = True) -> Example:
        """Ids of a conversation with its last answer; earlier answers cannot be found without a tokenizer."""
        return self._template.example(messages, max_length, last_turn=True)


def _special(weights: LlamaModel, name: str) -> str:
    token = weights.special_token(name)
    return weights.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""


@dataclass(frozen=True, slots=True)
class _Encoded:
    ids: list[int]


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The part of a tokenizer that rendering and encoding need, over llama.cpp's own."""

    weights: LlamaModel

    def no_truncation(self) -> None:
        """Never cuts."""

    def no_padding(self) -> None:
        """Never pads."""

    def encode(self, text: str, add_special_tokens: bool = False) -> _Encoded:
        """Ids of rendered text, control tokens in it read as such; none are added."""
        return _Encoded(self.weights.tokenize(text))

    def token_to_id(self, text: str) -> int | None:
        """The id of a token that stands for all of `text`."""
        ids = self.weights.tokenize(text)
        return ids[0] if len(ids) == 1 else None

    def get_added_tokens_decoder(self) -> dict[int, str]:
        """Not known: the end of a turn is then the end of the text."""
        return {}
