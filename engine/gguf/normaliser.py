"""What a tokenizer does to a text before it splits it (NFC, lower case …), which llama.cpp does not do.
Read from tokenizer.json; nothing here reads or writes GGUF."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import Tokenizer

_WRITTEN_OTHERWISE = ("Prepend", "ByteLevel")
"""Steps that llama.cpp does too: a space before the text (`add_space_prefix`), bytes as letters."""
_WORDS = {
    "NFC": "puts letters and combining marks together (NFC)",
    "NFD": "takes letters and combining marks apart (NFD)",
    "NFKC": "replaces ligatures, wide letters and the like by plain ones (NFKC)",
    "NFKD": "replaces ligatures, wide letters and the like by plain ones (NFKD)",
    "Lowercase": "makes all letters lower case",
    "StripAccents": "drops accents",
    "Strip": "drops white space at the ends",
    "Replace": "replaces characters",
    "BertNormalizer": "cleans up control characters, accents and capital letters (BERT)",
    "Nmt": "cleans up control characters and spaces",
    "Precompiled": "replaces characters by a table",
}


class Normaliser:
    """The steps of a tokenizer's normaliser that change which text is meant; `names` are their types in
    tokenizer.json, empty when there is none. SentencePiece's marks for spaces are none: GGUF has them too."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        steps = [step for step in _flat(raw.get("normalizer")) if not _known_to_llama_cpp(step)]
        self.names = tuple(str(step["type"]) for step in steps)
        self._steps = _built(steps) if steps else None

    def __call__(self, text: str) -> str:
        """The text after these steps."""
        return text if self._steps is None else str(self._steps.normalize_str(text))

    @property
    def words(self) -> str:
        """What it does, in words: `puts letters and combining marks together (NFC)`."""
        return " and ".join(_WORDS.get(name, f"applies {name}") for name in self.names)


def _flat(step: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if step is None:
        return
    if step["type"] == "Sequence":
        for inner in step["normalizers"]:
            yield from _flat(inner)
    else:
        yield step


def _known_to_llama_cpp(step: Mapping[str, Any]) -> bool:
    marks_spaces = step["type"] == "Replace" and step.get("pattern") == {"String": " "} and step["content"] == "\u2581"
    return marks_spaces or step["type"] in _WRITTEN_OTHERWISE


def _built(steps: list[Mapping[str, Any]]) -> Any:
    """A tokenizers.Normalizer: the library reads one only as a part of a whole tokenizer."""
    body = {
        "version": "1.0", "added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": steps},
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }  # fmt: skip
    return Tokenizer.from_str(json.dumps(body)).normalizer
