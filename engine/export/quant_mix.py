"""What a quantised GGUF file really holds, by size: llama.cpp writes a matrix in a wider type where the length of its
rows is no multiple of the quant's block. From headers alone; nothing here quantises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path

from engine.gguf import header
from engine.models import weight_files
from engine.models.refs import Resolved
from store.errors import UserError

# What llama.cpp makes of each quant: matrices, the output matrix. In bytes per weight.
_BYTES = {
    "F32": 4.0, "F16": 2.0, "BF16": 2.0, "Q8_0": 34 / 32, "Q6_K": 210 / 256, "Q5_K": 176 / 256, "Q5_1": 24 / 32,
    "Q5_0": 22 / 32, "Q4_K": 144 / 256, "Q4_1": 20 / 32, "Q4_0": 18 / 32, "IQ4_XS": 136 / 256, "IQ4_NL": 18 / 32,
    "Q3_K": 110 / 256, "IQ3_S": 110 / 256, "IQ2_S": 82 / 256,
}  # fmt: skip
_MADE = {
    "q8_0": ("Q8_0", "Q8_0"), "q6_k": ("Q6_K", "Q6_K"), "q5_k_m": ("Q5_K", "Q6_K"), "q4_k_m": ("Q4_K", "Q6_K"),
    "q4_1": ("Q4_1", "Q6_K"), "q4_0": ("Q4_0", "Q6_K"), "iq4_xs": ("IQ4_XS", "Q6_K"), "q3_k_m": ("Q3_K", "Q6_K"),
    "iq3_m": ("IQ3_S", "Q6_K"), "iq2_m": ("IQ2_S", "Q5_K"),
}  # fmt: skip
_BLOCK = 256
_SMALL_BLOCK = 32
_FALLBACK = {
    "Q6_K": "Q8_0", "Q5_K": "Q5_1", "Q4_K": "Q5_0", "Q3_K": "Q4_0", "IQ4_XS": "IQ4_NL", "IQ3_S": "IQ4_NL",
    "IQ2_S": "IQ4_NL",
}  # fmt: skip
"""https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp, for rows that are no multiple of 256."""
_OUTPUT, _EMBEDDING = ("lm_head.weight", "output.weight"), ("embed_tokens.weight", "token_embd.weight")


def in_file(gguf: Path) -> dict[str, int]:
    """How many bytes of each type a GGUF file holds, the most first: {"Q5_0": 57000000, …}. BadInput when damaged."""
    from gguf import GGMLQuantizationType as Kind

    found: Counter[str] = Counter()
    for tensor in header.read(gguf).tensors:
        found[Kind(tensor.type).name] += tensor.bytes
    return dict(found.most_common())


def expected(model: Resolved, quant: str) -> dict[str, int]:
    """About the same of the file that `quant` will make of a model, the most first; empty where its shapes are not
    known."""
    if quant not in _MADE:
        return {}
    matrix, output = _MADE[quant]
    found: Counter[str] = Counter()
    shapes = _shapes(model)
    outputs = {name for name in shapes if name in _OUTPUT} or {name for name in shapes if name.endswith(_EMBEDDING)}
    for name, shape in shapes.items():
        if len(shape) < 2:
            kind = "F32"
        else:
            kind = _fitting(output if name in outputs else matrix, shape[-1])
        found[kind] += int(prod(shape) * _BYTES[kind])
    return dict(found.most_common())


def mostly(bytes_by_type: Mapping[str, int], quant: str | None) -> str:
    """`mostly Q5_0` when less than half of a file's bytes have the type that the quant is named after, else ""."""
    total = sum(bytes_by_type.values())
    if quant not in _MADE or not total:
        return ""
    own = {*_MADE[quant]} if quant.endswith(("_k", "_k_m")) else {_MADE[quant][0]}
    if sum(size for kind, size in bytes_by_type.items() if kind in own) >= total / 2:
        return ""
    parts = sorted(bytes_by_type.items(), key=lambda part: -part[1])
    if parts[0][0] in own:  # the largest part, and yet less than half
        parts = [*parts[1:2], parts[0]]
    first, size = parts[0]
    if size > total / 2:
        return f"mostly {first}"
    return ", ".join(f"{size / total:.0%} {kind}" for kind, size in parts[:2])


def _fitting(kind: str, row: int) -> str:
    """The type that llama.cpp writes a matrix with rows of this length in."""
    if kind in _FALLBACK and row % _BLOCK:
        kind = _FALLBACK[kind]
    return kind if row % _SMALL_BLOCK == 0 else "F16"


def _shapes(model: Resolved) -> dict[str, tuple[int, ...]]:
    """Names and shapes (rows, row length) of a model's tensors, from its headers."""
    try:
        if model.folder is not None:
            return {name: tuple(found.shape) for name, found in weight_files.read_tensors(model.folder).items()}
        if model.gguf is not None:
            return {tensor.name: tensor.shape[::-1] for tensor in header.read(model.gguf).tensors}
    except UserError:
        pass  # what is wrong with the base is said by what reads it
    return {}
