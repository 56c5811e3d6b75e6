"""The tensors of a Hugging Face folder, read one at a time, with a LoRA's delta added on the way: numpy only, no torch.
Nothing here knows GGUF names or writes a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from gguf.utility import LocalTensor, SafetensorsLocal

from engine.core.files import read_json
from store.errors import BadInput, Unsupported

# PEFT options that change what the adapter computes in a way that B @ A alone cannot express.
INEXPRESSIBLE = (
    "use_dora", "lora_bias", "modules_to_save", "trainable_token_indices", "layer_replication", "target_parameters",
    "use_qalora", "use_bdlora", "fan_in_fan_out", "alora_invocation_tokens", "ensure_weight_tying",
)  # fmt: skip
_SIDES = {".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_embedding_A": "a", ".lora_embedding_B": "b"}
_ADALORA_SIDES = {".lora_A": "a", ".lora_B": "b", ".lora_E": "e"}
_ADALORA_EPSILON = 1e-5
"""What PEFT adds to the rank that it divides by."""
EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in")
"""What families call the table of token embeddings, which `lm_head` may share."""
_OUTPUT = "lm_head"
_PACKED = {".qweight": "GPTQ or AWQ", ".weight_packed": "compressed-tensors", ".weight.quant_state": "bitsandbytes"}
"""Tensors that stand in for, or beside, a packed weight."""
_NUMPY = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32}


def table_of(weights: Path, todo: str) -> dict[str, LocalTensor]:
    """A safetensors file's table of contents by name; values are read later. BadInput when it is broken or cut off."""
    try:
        tensors: dict[str, LocalTensor] = SafetensorsLocal(weights).tensors
    except FileNotFoundError:
        raise BadInput("The weights are missing.", where=str(weights), todo=todo) from None
    except (ValueError, KeyError, UnicodeDecodeError, MemoryError, OverflowError) as error:
        raise BadInput(f"The safetensors file is broken: {error}.", where=str(weights), todo=todo) from None
    end = max((t.data_range.offset + t.data_range.size for t in tensors.values()), default=0)
    if end > weights.stat().st_size:
        raise BadInput("The safetensors file is cut off.", where=str(weights), todo=todo)
    return tensors


def float32(tensor: LocalTensor) -> np.ndarray:
    """The values as float32, in the tensor's shape; bfloat16, which numpy lacks, is the upper half of a float32."""
    raw = tensor.mmap_bytes()
    if tensor.dtype == "BF16":
        bits = raw.view(np.uint16).astype(np.uint32)
        bits <<= 16  # in place, here and below: an embedding is the most memory that an export takes
        return bits.view(np.float32).reshape(tensor.shape)
    if tensor.dtype not in _NUMPY:
        raise Unsupported(
            f"Weights of type {tensor.dtype} cannot be read.", todo="Use a float32, float16 or bfloat16 copy."
        )
    return raw.view(_NUMPY[tensor.dtype]).astype(np.float32, copy=False).reshape(tensor.shape)


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """The low-rank factors of one module: A of shape (rank, in), B of shape (out, rank), and what B @ A is
    multiplied by. Of an `embedding`, a table of shape (in, out), PEFT adds the transpose: (B @ A).T. AdaLoRA has a
    diagonal between them, `e` of shape (rank, 1): its zeros are ranks that were taken away."""

    a: LocalTensor
    b: LocalTensor
    scale: float
    embedding: bool = False
    e: LocalTensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weight that it belongs to."""
        out, into = self.b.shape[0], self.a.shape[1]
        return (into, out) if self.embedding else (out, into)

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """A and the scaled B as float32, without ranks that were taken away (but for one, where none is left)."""
        a, b = self._sides()
        return a, b * np.float32(self.scale)

    def dense(self) -> np.ndarray:
        """scale * B @ A, or its transpose, as float32: what PEFT adds when it merges a float32 base."""
        a, b = self._sides()
        product = a.T @ b.T if self.embedding else b @ a
        product *= np.float32(self.scale)
        return product

    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = float32(self.a), float32(self.b)
        if self.e is None:
            return a, b
        e = float32(self.e)
        kept = np.flatnonzero(e) if e.any() else [0]
        return (a * e)[kept], b[:, kept]


def is_plain(folder: Path) -> bool:
    """Whether low-rank factors say all that the adapter does; BadInput when it is broken."""
    try:
        read_adapter(folder)
    except Unsupported:
        return False
    return True


def read_adapter(folder: Path) -> dict[str, LoraFactors]:
    """The deltas of a PEFT LoRA folder by module name, for example `model.layers.0.self_attn.q_proj`.

    Raises BadInput when a file is missing or broken, Unsupported naming what B @ A cannot express (DoRA, saved
    modules, biases).
    """
    options = read_json(folder / "adapter_config.json")
    _refuse_inexpressible(options)
    adaptive = options.get("peft_type") == "ADALORA"
    names = _ADALORA_SIDES if adaptive else _SIDES
    todo = "Pick another checkpoint."
    sides: dict[str, dict[str, LocalTensor]] = {}
    embeddings: set[str] = set()
    for full, tensor in table_of(folder / "adapter_model.safetensors", todo).items():
        name = full.removeprefix("base_model.model.")
        if name.endswith(".base_layer.weight"):
            continue  # PEFT may keep a copy of a frozen base layer beside the factors
        suffix = next((s for s in names if name.endswith(s)), None)
        if suffix is None:
            raise cannot(f"the tensor {name}")
        module = name.removesuffix(suffix)
        sides.setdefault(module, {})[names[suffix]] = tensor
        if "embedding" in suffix:
            embeddings.add(module)
    if not sides:
        raise BadInput("The adapter file holds no LoRA tensors.", where=str(folder), todo=todo)
    deltas = {}
    for module, pair in sides.items():
        if set(pair) != set(names.values()):
            raise BadInput(f"The adapter does not hold all factors of {module}.", where=str(folder), todo=todo)
        if adaptive and pair["a"].shape[0] == 0:
            continue  # trimmed to nothing
        rank = options["init_r"] + _ADALORA_EPSILON if adaptive else pair["a"].shape[0]
        scale = _scale(module, rank, options)
        deltas[module] = LoraFactors(pair["a"], pair["b"], scale, module in embeddings, pair.get("e"))
    return deltas


class MergedWeights:
    """A base folder's tensors by Hugging Face name, with `adapter` merged in when it is read.

    `untied`: the base has one table for embedding and output, and the adapter changes only one of the two, so that the
    merged model has both: `lm_head.weight` is among the tensors, and `config` says so. Raises BadInput when a file is
    missing, cut off or of another base, Unsupported for a quantised checkpoint.
    """

    def __init__(self, base: Path, adapter: Path | None = None) -> None:
        todo = "Prepare the base model again: tuningfork models add."
        self.base = base
        self.tensors: dict[str, LocalTensor] = {}
        for part in _parts(base):
            self.tensors |= table_of(base / part, todo)
        self.deltas = read_adapter(adapter) if adapter else {}
        self.untied = self._untie()
        for module, delta in self.deltas.items():
            self._check_fits(module, delta)
        self.merged: set[str] = set()

    def __call__(self, name: str) -> np.ndarray:
        """The tensor as float32 (float16 stays), its delta added in float32."""
        tensor = self.tensors[name]
        module = name.removesuffix(".weight")
        if module not in self.deltas:
            if tensor.dtype == "F16":
                return tensor.mmap_bytes().view(np.float16).reshape(tensor.shape)
            return float32(tensor)
        self.merged.add(module)
        merged = self.deltas[module].dense()
        merged += float32(tensor)
        return merged

    def config(self) -> dict[str, Any]:
        """The base's config.json, as it is for the merged weights."""
        found = read_json(self.base / "config.json")
        if self.untied:
            found["tie_word_embeddings"] = False
            if isinstance(found.get("text_config"), dict):
                found["text_config"] = found["text_config"] | {"tie_word_embeddings": False}
        return found

    def check_consumed(self) -> None:
        """Raise when some delta never went into a tensor: the export would be less than the run."""
        if left := sorted(set(self.deltas) - self.merged):
            raise Unsupported(
                f"{len(left)} of the adapter's modules were not merged, first {left[0]}.",
                todo="Export the adapter instead.",
            )

    def _untie(self) -> bool:
        """Add the output matrix to the tensors where only embedding or output is adapted, and the base has one table
        for both. PEFT computes it like that: a LoRA on one leaves the other as it was."""
        tables = [name for name in self.tensors if name.removesuffix(".weight").rpartition(".")[2] in EMBEDDINGS]
        touched = [m for m in self.deltas if m == _OUTPUT or m.rpartition(".")[2] in EMBEDDINGS]
        if not touched or len(tables) != 1 or not _is_tied(self.base, self.tensors):
            return False
        self.tensors[f"{_OUTPUT}.weight"] = self.tensors[tables[0]]
        return True

    def _check_fits(self, module: str, delta: LoraFactors) -> None:
        tensor = self.tensors.get(f"{module}.weight")
        if tensor is not None and tuple(tensor.shape) == delta.shape:
            return
        ends = tuple(name.removeprefix(module) for name in self.tensors if name.startswith(f"{module}."))
        if kind := next((kind for begin, kind in _PACKED.items() if any(end.startswith(begin) for end in ends)), ""):
            kind = f"{kind}: "
        if kind or (tensor is not None and tensor.dtype in ("U8", "I8", "F8_E4M3", "F8_E5M2")):
            raise Unsupported(
                f"The base's weights are packed ({kind}{module}), and an adapter cannot be added to packed weights.",
                where=str(self.base),
                todo="Export the adapter (--to adapter), or train on the model's 16-bit weights.",
            )
        if tensor is None:
            raise self._no_such_module(module)
        has = tuple(tensor.shape)
        what, todo = f"{module} has the shape {has} in this one, not {delta.shape}", ""
        if has == delta.shape[::-1] and has[0] != has[1]:
            raise Unsupported(
                f"The base stores {module} transposed: {has}, where the adapter has {delta.shape}.",
                where=str(self.base),
                todo="Export the adapter (--to adapter), which transformers applies itself.",
            )
        if module == _OUTPUT or module.rpartition(".")[2] in EMBEDDINGS:
            rows = f"{has[0]:,} rows, not {delta.shape[0]:,}"
            what, todo = f"its vocabulary has another size ({module} has {rows})", " with the same vocabulary"
        raise BadInput(
            f"The adapter belongs to another base: {what}.",
            where=str(self.base),
            todo=f"Export with the base model that the run was made from{todo}.",
        )

    def _no_such_module(self, module: str) -> BadInput | Unsupported:
        """Why a module of the adapter is not among the tensors."""
        if module == _OUTPUT:
            return Unsupported(
                "The adapter changes the output matrix (lm_head), and this base's files hold none.",
                where=str(self.base),
                todo="Export the adapter (--to adapter), or train without the target lm_head.",
            )
        inner = module[found.start() :] if (found := re.search(r"\d+\.", module)) else module.rpartition(".")[2]
        other = next((n for n in self.tensors if n == f"{inner}.weight" or n.endswith(f".{inner}.weight")), None)
        if other is not None:
            return Unsupported(
                f"The base's files name their weights otherwise than transformers does: {other} is {module} there.",
                where=str(self.base),
                todo="Load the base with transformers, save it again with save_pretrained, and train on that folder.",
            )
        return BadInput(
            f"The adapter belongs to another base: this one has no module {module}.",
            where=str(self.base),
            todo="Export with the base model that the run was made from.",
        )


def _is_tied(base: Path, tensors: Mapping[str, LocalTensor]) -> bool:
    """Whether a model has one table for embedding and output: its configuration says so, or it has no output."""
    config = read_json(base / "config.json", optional=True)
    said = config.get("tie_word_embeddings", (config.get("text_config") or {}).get("tie_word_embeddings"))
    return bool(said) or f"{_OUTPUT}.weight" not in tensors


def cannot(what: str) -> Unsupported:
    """What to raise for an adapter that low-rank factors alone cannot express."""
    return Unsupported(f"Low-rank factors alone cannot express {what}.", todo="Export a merged model instead.")


def _parts(base: Path) -> list[str]:
    index = base / "model.safetensors.index.json"
    if index.is_file():
        return sorted(set(read_json(index)["weight_map"].values()))
    parts = sorted(path.name for path in base.glob("model*.safetensors"))
    if not parts:
        raise BadInput(
            "The base model has no safetensors weights.",
            where=str(base),
            todo="Prepare it again: tuningfork models add.",
        )
    return parts


def _scale(module: str, rank: float, options: Mapping[str, Any]) -> float:
    """alpha / rank, or alpha / sqrt(rank) with rsLoRA (https://arxiv.org/abs/2312.03732); alpha may differ by
    module."""
    patterns: Mapping[str, float] = options.get("alpha_pattern") or {}
    alpha = next((v for p, v in patterns.items() if re.match(rf"(.*\.)?({p})$", module)), options["lora_alpha"])
    return float(alpha) / (sqrt(rank) if options.get("use_rslora") else rank)


def _refuse_inexpressible(options: Mapping[str, Any]) -> None:
    kind = options.get("peft_type", "LORA")
    if kind not in ("LORA", "ADALORA"):
        raise cannot(f"a {kind} adapter")
    used = [name for name in INEXPRESSIBLE if options.get(name)]
    if options.get("bias", "none") != "none":
        used.append("bias")
    if used:
        raise cannot(", ".join(used))
