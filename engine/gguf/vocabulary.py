"""A Hugging Face tokenizer.json becomes GGUF tokenizer keys, and the pre-tokenizer's GGUF name is found by trying,
not by trust.
Nothing here reads weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
from gguf import TokenType
from tokenizers import Tokenizer

from engine.gguf import tokenizer_file
from engine.gguf.llama_library import vocabulary
from store.errors import Unsupported

# Every name that llama.cpp knows; those a fingerprint points at are tried first.
PRE_NAMES = (
    "llama-bpe", "qwen2", "smollm", "gpt-2", "gpt-4o", "tekken", "default", "deepseek-llm",
    "deepseek-coder", "deepseek-v3",
    "falcon", "mpt", "starcoder", "refact", "command-r", "qwen35", "stablelm2", "olmo", "dbrx", "smaug-bpe",
    "poro-chat",
    "chatglm-bpe", "glm4", "viking", "jais", "codeshell", "bloom", "gpt3-finnish", "exaone", "exaone-moe", "chameleon",
    "minerva-7b", "megrez", "superbpe", "trillion", "granite-docling", "bailingmoe", "seed-coder", "hunyuan",
    "hunyuan-dense",
    "joyai-llm", "kimi-k2", "grok-2", "afmoe", "minimax-m2", "tiny_aya",
)  # fmt: skip

# Lines on which pre-tokenizers differ: digits, contractions, code, white space, scripts, emoji, rare letters.
TELLING_LINES = (
    "Hello, world! It's 12 o'clock; we'll meet at 3.14159 or 1,234,567.89 EUR.",
    "1 22 333 4444 55555 666666 x1234567 v2.0.1 0x7fff 10:45 2024-02-29",
    "function f(x) {\n\treturn x1234567 * 0.5;  // don't, DON'T, I'd, they're\n}\n\n\n",
    "  leading   and \t tabs \r\n windows\u00a0no-break \u3000wide   trailing   ",
    "Grüße aus Köln, naïve café, and Ελληνικά, Привет мир, שלום, مرحبا",
    "日本語のテキスト、漢字とカナ。한국어 텍스트 中文字符，标点！ไทยภาษา हिन्दी",
    "🚀🏳️‍🌈👩‍💻 (╯°□°)╯ ½ ² ⅷ ３ ①  '''''' ```` ??!! ...... ----- ====",
    "camelCaseWords HTTPServerError snake_case_words ALLCAPS iPhone15Pro \\n \\u00e9",
    '<div class="a">&nbsp;</div> {"key": [1, 2.5e-10, null]} $HOME/bin | grep -v \'#\'',
)


def write_vocab(writer: gguf.GGUFWriter, folder: Path, c: Mapping[str, Any], pre: str | None) -> None:
    """Write every tokenizer.* key of the folder's tokenizer for a model of `c["vocab_size"]` rows; `pre` names the
    BPE pre-tokenizer.

    Raises Unsupported for a tokenizer that is neither byte-level BPE nor SentencePiece-like BPE.
    """
    file = tokenizer_file.load(folder)
    tokenizer = file.raw
    rows = c["vocab_size"]
    architecture = c["architectures"][0]
    if is_spm(tokenizer):
        pieces, scores, kinds = _spm(tokenizer, rows)
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(pieces)
        writer.add_token_scores(scores)
        writer.add_token_types(kinds)
        gguf.SpecialVocab(folder, n_vocab=rows).add_to_gguf(writer, quiet=True)
        writer.add_add_space_prefix(_space_prefix(tokenizer, architecture))
        return
    tokens, types = _bpe(file.tokenizer, rows)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre or "default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = gguf.SpecialVocab(folder, load_merges=True)
    if not _adds_bos(tokenizer):
        special.add_special_token["bos"] = False  # llama.cpp would add one of its own accord for some pre-tokenizers
    special.add_to_gguf(writer, quiet=True)


def is_spm(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is SentencePiece-like (BPE with byte fallback). Unsupported when it is no BPE at all."""
    model = tokenizer["model"]
    if model["type"] != "BPE":
        raise Unsupported(
            f"A {model['type']} tokenizer has no native GGUF form.",
            where="tokenizer.json",
            todo="Use --converter official.",
        )
    return bool(model.get("byte_fallback"))


def find_pre(folder: Path, c: Mapping[str, Any], scratch: Path) -> str | None:
    """The GGUF name of the folder's BPE pre-tokenizer: the first whose token ids equal Hugging Face's on every
    telling line.

    None for a SentencePiece-like vocabulary, which has none. A vocabulary-only file is written to `scratch` for
    llama.cpp to read (0.1-0.3 s a try). The lines are compared as the tokenizer's normaliser leaves them, since
    llama.cpp has none. Raises Unsupported when no known name agrees, with the closest one.
    """
    file = tokenizer_file.load(folder)
    raw, tokenizer = file.raw, file.tokenizer
    if is_spm(raw):
        return None
    lines = [file.normaliser(line) for line in TELLING_LINES]
    wanted = [tokenizer.encode(line, add_special_tokens=False).ids for line in lines]
    write_vocab_file(folder, c, "default", scratch)
    best = (len(wanted) + 1, "none")
    try:
        for name in _likely_first(raw):
            with vocabulary(scratch, pre=name) as vocab:
                if vocab is None:
                    continue  # this llama.cpp does not know the name
                wrong = sum(vocab.tokenize(line) != ids for line, ids in zip(lines, wanted, strict=True))
            if wrong == 0:
                return name
            best = min(best, (wrong, name))
    finally:
        scratch.unlink(missing_ok=True)
    raise Unsupported(
        f"No pre-tokenizer of llama.cpp splits text as this model's does; "
        f"the closest, {best[1]}, differs on {best[0]} of {len(wanted)} lines.",
        where=str(folder / "tokenizer.json"),
        todo="Use --converter official, or keep the model as --to merged.",
    )


def write_vocab_file(folder: Path, c: Mapping[str, Any], pre: str | None, out: Path) -> None:
    """A GGUF file with a vocabulary and no tensors."""
    writer = gguf.GGUFWriter(out, "llama")
    try:
        writer.add_type(gguf.GGUFType.MODEL)
        write_vocab(writer, folder, c, pre)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
    finally:
        writer.close()


def _likely_first(tokenizer: Mapping[str, Any]) -> list[str]:
    """All names, those that the shape of the pre-tokenizer suggests at the front."""
    text = json.dumps(tokenizer.get("pre_tokenizer") or {})
    hints = []
    if '"Digits"' in text:
        hints += ["smollm", "refact", "starcoder"]
    if r"\\p{N}{1,3}" in text:
        hints += ["gpt-4o", "tekken"] if r"\\p{Lu}" in text else ["llama-bpe", "dbrx", "smaug-bpe"]
    elif r"|\\p{N}|" in text:
        hints += ["tekken", "qwen2"] if r"\\p{Lu}" in text else ["qwen2", "qwen35", "stablelm2"]
    elif '"ByteLevel"' in text:
        hints += ["gpt-2"]
    return [*dict.fromkeys([*hints, *PRE_NAMES])]


def _bpe(tokenizer: Tokenizer, rows: int) -> tuple[list[str], list[TokenType]]:
    names = {i: token for token, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    added = tokenizer.get_added_tokens_decoder()
    if names and max(names) >= rows:
        raise Unsupported(
            f"The tokenizer has the id {max(names)}, but the model only {rows} rows.",
            todo="Resize the base model first.",
        )
    tokens, types = [], []
    for i in range(rows):
        token, kind = names.get(i, f"[PAD{i}]"), TokenType.NORMAL if i in names else TokenType.UNUSED
        if i in added:
            if not added[
                i
            ].normalized:  # its text may look different after the normaliser; llama.cpp wants what it decodes to
                token = tokenizer.decode(
                    tokenizer.encode(token, add_special_tokens=False).ids, skip_special_tokens=False
                )
            kind, token = _added_kind(token, added[i].special)
        tokens.append(token)
        types.append(kind)
    return tokens, types


def _spm(tokenizer: Mapping[str, Any], rows: int) -> tuple[list[bytes], list[float], list[TokenType]]:
    """Pieces with scores taken from the merge ranks: transformers no longer keeps the scores themselves."""
    model = tokenizer["model"]
    rank: dict[str, int] = {}
    for i, merge in enumerate(model["merges"]):
        rank.setdefault("".join(merge if isinstance(merge, list) else merge.split(" ")), i)
    tokens, scores, types = [f"[PAD{i}]".encode() for i in range(rows)], [-10000.0] * rows, [TokenType.UNUSED] * rows
    for piece, i in model["vocab"].items():
        kind = TokenType.NORMAL
        if re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", piece):
            kind = TokenType.BYTE
        elif piece == model.get("unk_token"):
            kind = TokenType.UNKNOWN
        score = -float(rank[piece]) if piece in rank else -1e6
        tokens[i], types[i], scores[i] = piece.encode(), kind, score if kind == TokenType.NORMAL else 0.0
    for entry in tokenizer.get("added_tokens", []):
        i = entry["id"]
        if i < rows and types[i] != TokenType.UNKNOWN:
            types[i], text = _added_kind(entry["content"], bool(entry.get("special")))
            tokens[i], scores[i] = text.encode(), -1000.0
    return tokens, scores, types


def _added_kind(token: str, special: bool) -> tuple[TokenType, str]:
    """Added tokens stay whole: control tokens when special or when they look it, else user-defined text."""
    if special or re.fullmatch(r"<pad>|<mask>|<2mass>|\[@BOS@\]|<\|.*\|>|<｜.*｜>|<unused.*>", token):
        return TokenType.CONTROL, token
    return TokenType.USER_DEFINED, token.replace("\u2581", " ")


def _space_prefix(tokenizer: Mapping[str, Any], architecture: str) -> bool:
    """Whether a text gets a space put before it: Llama's normaliser does, Gemma's does not."""
    if architecture.startswith("Gemma"):
        return False
    text = json.dumps([tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")])
    return '"Prepend"' in text or ('"Metaspace"' in text and '"never"' not in text)


def _adds_bos(tokenizer: Mapping[str, Any]) -> bool:
    return '"TemplateProcessing"' in json.dumps(tokenizer.get("post_processor") or {})
