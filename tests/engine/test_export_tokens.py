"""The verification of an export's vocabulary where the tokenizer normalises a text first, which llama.cpp does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import normalizers

from engine.export.verification import VerificationCheck, compare_tokens
from engine.gguf import tokenizer_file
from engine.gguf.llama_library import vocabulary
from engine.gguf.normaliser import Normaliser
from engine.gguf.vocabulary import find_pre, write_vocab_file
from tests.archs import write_tokenizer

NORMALISERS = {
    "NFC": normalizers.NFC(),
    "NFKC": normalizers.NFKC(),
    "Lowercase": normalizers.Lowercase(),
    "NFD+StripAccents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    "NFC+Replace": normalizers.Sequence([normalizers.NFC(), normalizers.Replace("’", "'")]),
}


def tokenizer(folder: Path, kind: str, normaliser: object | None) -> Path:
    write_tokenizer(folder, kind)
    path = folder / "tokenizer.json"
    body = json.loads(path.read_text("utf-8"))
    if normaliser is not None:
        body["normalizer"] = json.loads(normaliser.__getstate__())  # type: ignore[attr-defined]
    path.write_text(json.dumps(body), "utf-8")
    return folder


def checks(folder: Path, break_ids: bool = False) -> dict[str, VerificationCheck]:
    file = tokenizer_file.load(folder)
    rows = file.tokenizer.get_vocab_size(with_added_tokens=True)
    config = {"architectures": ["LlamaForCausalLM"], "vocab_size": rows}
    out = folder / "vocabulary.gguf"
    write_vocab_file(folder, config, find_pre(folder, config, folder / "scratch"), out)

    def ours(text: str) -> list[int]:
        ids = list(file.tokenizer.encode(text, add_special_tokens=False).ids)
        return ids[:-1] if break_ids else ids

    with vocabulary(out) as vocab:
        assert vocab is not None
        return {check.name: check for check in compare_tokens(vocab.tokenize, ours, file.normaliser)}


@pytest.mark.parametrize("name", NORMALISERS)
def test_a_normaliser_is_a_warning_that_says_what_differs(tmp_path: Path, name: str) -> None:
    found = checks(tokenizer(tmp_path, "qwen2", NORMALISERS[name]))
    assert found["tokens"].state == "passed", found["tokens"].said
    assert found["normaliser"].state == "warn"
    assert "llama.cpp does not" in found["normaliser"].said and "first" in found["normaliser"].said


@pytest.mark.parametrize("name", NORMALISERS)
def test_a_wrong_vocabulary_still_fails_the_check(tmp_path: Path, name: str) -> None:
    assert checks(tokenizer(tmp_path, "qwen2", NORMALISERS[name]), break_ids=True)["tokens"].state == "failed"


@pytest.mark.parametrize("kind", ["smollm", "spm", "spm-gemma"])
def test_marks_for_spaces_are_no_normaliser(tmp_path: Path, kind: str) -> None:
    found = checks(tokenizer(tmp_path, kind, None))
    assert found["tokens"].state == "passed" and "normaliser" not in found


def test_a_normaliser_beside_marks_for_spaces_is_found() -> None:
    marks = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    nested = {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [{"type": "NFC"}]}, *marks]}
    found = Normaliser({"normalizer": nested})
    assert found.names == ("NFC",) and found("e\u0301 x") == "\u00e9 x"
    assert Normaliser({"normalizer": None})("e\u0301") == "e\u0301"
