"""The binding to llama.cpp: the library loaded once, a GGUF file's model with its vocabulary and adapters.
Contexts, which compute, are engine.inference.backends.llama_context's; everything here blocks."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
import threading
import types
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store.errors import BadInput, Unsupported

MAX_ADAPTERS = 8
_GPU_LAYERS = 999
_log: deque[str] = deque(maxlen=20)
_keep_alive: list[Any] = []  # callbacks that native code holds must outlive every native call
_starting = threading.Lock()
_library: Any = None


def library() -> Any:
    """The ctypes module `llama_cpp.llama_cpp`, its backend started, its log kept instead of printed.

    The package's own `__init__` imports numpy, jinja2 and every chat format (0.25 s, which the first token would
    wait for), so the submodule is imported under a bare parent that is taken away again. Raises Unsupported when it
    is not installed.
    """
    global _library
    with _starting:
        if _library is None:
            loaded = _import_bare("llama_cpp")
            callback = loaded.llama_log_callback(_keep_error)
            _keep_alive.append(callback)
            loaded.llama_log_set(callback, ctypes.c_void_p(0))
            loaded.llama_backend_init()
            _library = loaded
    return _library


def submodule(name: str) -> Any:
    """A module of the llama_cpp package that needs nothing else of it. Raises Unsupported when it is not installed."""
    with _starting:
        return _import_bare(name)


def _import_bare(name: str) -> Any:
    if "llama_cpp" in sys.modules:
        return importlib.import_module(f"llama_cpp.{name}")
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise Unsupported(
            "llama.cpp is not installed.", todo="pip install llama-cpp-python, or use the transformers backend."
        )
    bare = types.ModuleType("llama_cpp")
    bare.__path__ = list(spec.submodule_search_locations)
    bare.__spec__ = spec
    sys.modules["llama_cpp"] = bare
    try:
        return importlib.import_module(f"llama_cpp.{name}")
    finally:
        del sys.modules["llama_cpp"]


def _keep_error(level: int, text: bytes, _: object) -> None:
    if level == 3:  # GGML_LOG_LEVEL_ERROR
        _log.append(text.decode("utf-8", "replace").strip())


def uses_amx(system_info: str) -> bool:
    """Whether llama.cpp was compiled to multiply with AMX tiles, by its own description of itself.

    Such a build, made by GCC 12 on a Sapphire Rapids Xeon, died of an illegal instruction (`tilezero`) at its first
    prompt of several tokens, though tiles work there. The probable cause: that compiler's `_tile_loadconfig` says that
    it reads 8 of the 64 bytes of the tile configuration, so the stores of the others may be optimised away.
    """
    return "AMX_INT8 = 1" in system_info


def reason() -> str:
    return next((line for line in reversed(_log) if line), "llama.cpp gave no reason")


class LlamaModel:
    """One loaded GGUF model: shared by any number of contexts, with its vocabulary and the adapters loaded
    beside it."""

    def __init__(self, path: Path, *, vocab_only: bool = False, pre: str | None = None) -> None:
        """Map the file into memory; `vocab_only` reads no weights, and `pre` stands in for the file's own
        tokenizer.ggml.pre.

        Raises Unsupported with llama.cpp's reason when it cannot load it.
        """
        lib = self.lib = library()
        self.path = path
        self.offloads = bool(lib.llama_supports_gpu_offload())
        params = lib.llama_model_default_params()
        params.n_gpu_layers = _GPU_LAYERS if self.offloads else 0
        params.vocab_only = vocab_only
        params.use_extra_bufts = not uses_amx(lib.llama_print_system_info().decode())
        if pre is not None:
            params.kv_overrides = _override(lib, b"tokenizer.ggml.pre", pre.encode())
        self._pointer = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._pointer:
            raise Unsupported(
                f"llama.cpp cannot load this model: {reason()}.",
                where=str(path),
                todo="Check the file, or download it again.",
            )
        self._vocab = lib.llama_model_get_vocab(self._pointer)
        self.n_vocab: int = lib.llama_vocab_n_tokens(self._vocab)
        self.n_ctx_train: int = lib.llama_model_n_ctx_train(self._pointer)
        self._adapters: OrderedDict[tuple[str, int, int], Any] = OrderedDict()
        self._changing = threading.Lock()
        self.contexts: set[Any] = set()  # what `free` frees first; each says which adapter it uses

    @property
    def pointer(self) -> Any:
        return self._pointer

    @property
    def vocab(self) -> Any:
        """The C pointer to the vocabulary, for samplers."""
        return self._vocab

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of `text`; `special` reads texts such as `<|im_end|>` as the tokens they name. Adds nothing."""
        raw = text.encode()
        space = len(raw) + 16
        out = (self.lib.llama_token * space)()
        count = self.lib.llama_tokenize(self._vocab, raw, len(raw), out, space, False, special)
        if count < 0:
            raise BadInput("The text cannot be turned into tokens.", todo="Shorten it.")
        return list(out[:count])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of a token; a control token is empty unless `special`. Possibly part of a UTF-8 character."""
        out = ctypes.create_string_buffer(64)
        size = self.lib.llama_token_to_piece(self._vocab, token, out, len(out), 0, special)
        if size < 0:  # the size it needs
            out = ctypes.create_string_buffer(-size)
            size = self.lib.llama_token_to_piece(self._vocab, token, out, len(out), 0, special)
        return out.raw[: max(size, 0)]

    def prompt_ids(self, text: str) -> list[int]:
        """Token ids of a text to continue: with the begin-of-text token where the model wants one before it."""
        begin = [self.special_token("bos")] if self.lib.llama_vocab_get_add_bos(self._vocab) else []
        return [*begin, *self.tokenize(text)]

    def ends(self, token: int) -> bool:
        """Whether the token ends a turn or a text by the model's own vocabulary."""
        return bool(self.lib.llama_vocab_is_eog(self._vocab, token))

    def special_token(self, name: str) -> int:
        """Id of `bos`, `eos` or `pad`, -1 when the model has none."""
        return int(getattr(self.lib, f"llama_vocab_{name}")(self._vocab))

    def meta(self, key: str) -> str | None:
        """A metadata value of the file as text."""
        name = key.encode()
        size = self.lib.llama_model_meta_val_str(self._pointer, name, None, 0)
        if size < 0:
            return None
        out = ctypes.create_string_buffer(size + 1)
        self.lib.llama_model_meta_val_str(self._pointer, name, out, len(out))
        return out.value.decode("utf-8", "replace")

    def adapter(self, path: Path) -> tuple[tuple[str, int, int], Any]:
        """Load a GGUF adapter, once for each version of the file: its key and pointer.

        The base weights are not touched.
        """
        stat = path.stat()
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        with self._changing:
            if key not in self._adapters:
                pointer = self.lib.llama_adapter_lora_init(self._pointer, str(path).encode())
                if not pointer:
                    raise Unsupported(
                        f"llama.cpp cannot load this adapter: {reason()}.",
                        where=str(path),
                        todo="Is it of this base model?",
                    )
                self._adapters[key] = pointer
                self._drop_unused_adapters()
            self._adapters.move_to_end(key)
            return key, self._adapters[key]

    def _drop_unused_adapters(self) -> None:
        used = {context.adapter_key for context in self.contexts}
        spare = [key for key in list(self._adapters)[:-1] if key not in used]
        for key in spare[: max(0, len(self._adapters) - MAX_ADAPTERS)]:
            self.lib.llama_adapter_lora_free(self._adapters.pop(key))

    def free(self) -> None:
        """Free contexts first, then adapters, then the weights: each refers to the next."""
        for context in list(self.contexts):
            context.free()
        for pointer in self._adapters.values():
            self.lib.llama_adapter_lora_free(pointer)
        self._adapters.clear()
        if self._pointer:
            self.lib.llama_model_free(self._pointer)
            self._pointer = None


@contextmanager
def vocabulary(path: Path, pre: str | None = None) -> Iterator[LlamaModel | None]:
    """llama.cpp's own view of the vocabulary of `path`, without its weights, `pre` in place of the file's own
    tokenizer.ggml.pre; None when llama.cpp refuses it."""
    try:
        model = LlamaModel(path, vocab_only=True, pre=pre)
    except Unsupported:
        yield None
        return
    try:
        yield model
    finally:
        model.free()


def _override(lib: Any, key: bytes, value: bytes) -> Any:
    """A kv_overrides array of one string; an empty key ends it."""
    overrides = (lib.llama_model_kv_override * 2)()
    overrides[0].key = key
    overrides[0].tag = lib.LLAMA_KV_OVERRIDE_TYPE_STR
    field = ctypes.addressof(overrides[0].value) + lib.llama_model_kv_override_value.val_str.offset
    ctypes.memmove(field, value.ljust(128, b"\0"), 128)
    overrides[1].key = b""
    return overrides
