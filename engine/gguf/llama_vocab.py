"""llama.cpp's own view of a GGUF file's vocabulary, loaded without its weights.
Only what exports need to hold it against Hugging Face's: no context, no generation."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class VocabOnly:
    """Tokenises with the vocabulary of a GGUF file."""

    def __init__(self, pointer: Any) -> None:
        import llama_cpp

        self._lib = llama_cpp
        self._vocab = llama_cpp.llama_model_get_vocab(pointer)

    @staticmethod
    @contextmanager
    def open(path: Path, pre: str | None = None) -> Iterator[VocabOnly | None]:
        """The vocabulary of `path`, `pre` in place of the file's own tokenizer.ggml.pre; None when llama.cpp refuses
        it."""
        import llama_cpp

        quiet(llama_cpp)
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        if pre is not None:
            params.kv_overrides = _override(llama_cpp, b"tokenizer.ggml.pre", pre.encode())
        pointer = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        try:
            yield VocabOnly(pointer) if pointer else None
        finally:
            if pointer:
                llama_cpp.llama_model_free(pointer)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of `text` without any that are added around it; `special` reads control tokens in the text as
        such."""
        raw = text.encode()
        room = len(raw) + 16
        ids = (self._lib.llama_token * room)()
        count = self._lib.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, special)
        return list(ids[:count])

    def ends_turn(self, token: int) -> bool:
        """Whether llama.cpp stops generating at this token."""
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    @property
    def eos(self) -> int:
        return int(self._lib.llama_vocab_eos(self._vocab))


_kept: list[Any] = []


def quiet(lib: Any) -> None:
    """Send llama.cpp's log nowhere; the callback must outlive every native call, so it is kept."""
    if not _kept:

        @lib.llama_log_callback
        def nowhere(level: int, text: bytes, data: Any) -> None:
            return None

        _kept.append(nowhere)
    lib.llama_log_set(_kept[0], ctypes.c_void_p(0))


def _override(lib: Any, key: bytes, value: bytes) -> Any:
    """A kv_overrides array of one string; an empty key ends it."""
    overrides = (lib.llama_model_kv_override * 2)()
    overrides[0].key = key
    overrides[0].tag = lib.LLAMA_KV_OVERRIDE_TYPE_STR
    field = ctypes.addressof(overrides[0].value) + lib.llama_model_kv_override_value.val_str.offset
    ctypes.memmove(field, value.ljust(128, b"\0"), 128)
    overrides[1].key = b""
    return overrides
