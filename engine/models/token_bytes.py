"""The bytes that a token stands for, read off a tokenizer: what decoding one token alone cannot give, because a token
may be a part of a character. No model, no template."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tokenizers import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"


def token_bytes(tokenizer: Tokenizer, ids: Sequence[int]) -> list[bytes]:
    """The bytes of each token, a control token's being its name. Those of an id that the tokenizer does not know are
    empty.

    Byte-level tokenizers spell each byte as a character (GPT-2's table), others have a token `<0xE4>` for a byte and
    `▁` for a space; what is neither is decoded.
    """
    added = tokenizer.get_added_tokens_decoder()
    decode = tokenizer.decoder.decode if tokenizer.decoder is not None else "".join
    byte_level, marked = decode(["a", "\u0120b"]) == "a b", decode(["a", f"{_SPACE}b"]) == "a b"

    def of(id: int) -> bytes:
        token = tokenizer.id_to_token(id)
        if token is None:
            return b""
        if id in added:
            return str(added[id].content).encode()
        if byte_level and all(char in _BYTES for char in token):
            return bytes(_BYTES[char] for char in token)
        if match := _BYTE.fullmatch(token):
            return bytes([int(match[1], 16)])
        return (token.replace(_SPACE, " ") if marked else str(tokenizer.decode([id]))).encode()

    known = {id: of(id) for id in set(ids)}
    return [known[id] for id in ids]


def _byte_table() -> dict[str, int]:
    """GPT-2's spelling: a printable byte is its own character, the others follow from U+0100 on in their order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_table()
