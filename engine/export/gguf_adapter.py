"""A PEFT LoRA adapter folder becomes one GGUF adapter file for llama.cpp: numpy and gguf only, no torch.
Every scale is folded into B: llama.cpp knows alpha / rank alone, and would get rsLoRA and per-module alphas wrong."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.utility import LocalTensor, SafetensorsLocal

from engine.export.arch import Shape, permute_for, shape_of
from store.errors import BadInput, Unsupported

# PEFT options that change what the adapter computes in a way a GGUF LoRA file has no field for.
INEXPRESSIBLE = (
    "use_dora", "lora_bias", "modules_to_save", "trainable_token_indices", "layer_replication", "target_parameters",
    "use_qalora", "use_bdlora", "fan_in_fan_out", "alora_invocation_tokens",
)  # fmt: skip
_SIDES = {".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_embedding_A": "a", ".lora_embedding_B": "b"}


def convert(adapter: Path, base: Path, out: Path) -> Path:
    """Write `adapter` (PEFT folder) for a base whose `config.json` is in the folder `base`, as float32, to `out`.

    The file appears whole or not at all. Raises BadInput when a file is missing or broken, Unsupported naming what a
    GGUF adapter cannot express (DoRA, saved modules, biases, an unknown architecture).
    """
    options = _read_json(adapter / "adapter_config.json")
    shape = shape_of(_read_json(base / "config.json"))
    _refuse_inexpressible(options)
    weights = adapter / "adapter_model.safetensors"
    if not weights.is_file():
        raise BadInput("The adapter has no weights.", where=str(weights), todo="Pick another checkpoint.")
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        _write(weights, options, shape, part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out


@dataclass(slots=True)
class _Pair:
    """The two factors of one module."""

    a: LocalTensor | None = None
    b: LocalTensor | None = None


def _write(weights: Path, options: Mapping[str, Any], shape: Shape, out: Path) -> None:
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == shape.arch.name)
    names = gguf.get_tensor_name_map(arch, shape.layers)
    writer = gguf.GGUFWriter(out, shape.arch.name)
    try:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", 0.0)  # 0 tells llama.cpp to apply B @ A as it stands
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for module, pair in _pairs(_tensors(weights)).items():
            name = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
            if name is None or (module == "lm_head" and shape.tied):
                raise _cannot(f"a LoRA on {module}")
            for side, array in zip("ab", _factors(module, pair, options, shape), strict=True):
                writer.add_tensor(f"{name}.lora_{side}", np.ascontiguousarray(array))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _tensors(weights: Path) -> dict[str, LocalTensor]:
    """The file's table of contents by name; values are read later. A cut-off file is refused here."""
    try:
        tensors = SafetensorsLocal(weights).tensors
    except (ValueError, KeyError) as error:
        raise BadInput(
            f"The adapter file is broken: {error}.", where=str(weights), todo="Pick another checkpoint."
        ) from None
    end = max((t.data_range.offset + t.data_range.size for t in tensors.values()), default=0)
    if end > weights.stat().st_size:
        raise BadInput("The adapter file is cut off.", where=str(weights), todo="Pick another checkpoint.")
    return tensors


def _pairs(tensors: Mapping[str, LocalTensor]) -> dict[str, _Pair]:
    """Tensors grouped by module name. A copy of a frozen base layer, which PEFT may add, is left out."""
    pairs: dict[str, _Pair] = {}
    for full in tensors:
        name = full.removeprefix("base_model.model.")
        if name.endswith(".base_layer.weight"):
            continue
        suffix = next((s for s in _SIDES if name.endswith(s)), None)
        if suffix is None:
            raise _cannot(f"the tensor {name}")
        setattr(pairs.setdefault(name.removesuffix(suffix), _Pair()), _SIDES[suffix], tensors[full])
    if not pairs:
        raise BadInput("The adapter file holds no LoRA tensors.", todo="Pick another checkpoint.")
    return pairs


def _factors(module: str, pair: _Pair, options: Mapping[str, Any], shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """A of shape (rank, in) and B of shape (out, rank) as float32, B scaled and its rows in GGUF order."""
    if pair.a is None or pair.b is None:
        raise BadInput(f"The adapter holds only one of the two factors of {module}.", todo="Pick another checkpoint.")
    a, b = _float32(pair.a), _float32(pair.b)
    b = permute_for(module, b * np.float32(_scale(module, a.shape[0], options)), shape)
    if module.endswith("embed_tokens"):
        a = a.T  # llama.cpp looks the rows of an embedding's A up by token id
    return a, b


def _scale(module: str, rank: int, options: Mapping[str, Any]) -> float:
    """What PEFT multiplies B @ A by: alpha / rank, or alpha / sqrt(rank) with rsLoRA; alpha may differ by module."""
    patterns: Mapping[str, float] = options.get("alpha_pattern") or {}
    alpha = next((v for p, v in patterns.items() if re.match(rf"(.*\.)?({p})$", module)), options["lora_alpha"])
    return float(alpha) / (sqrt(rank) if options.get("use_rslora") else rank)


def _float32(tensor: LocalTensor) -> np.ndarray:
    """The values as float32; bfloat16, which numpy lacks, is the upper half of a float32."""
    raw = tensor.mmap_bytes()
    if tensor.dtype == "BF16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
    kinds = {"F32": np.float32, "F16": np.float16}
    if tensor.dtype not in kinds:
        raise _cannot(f"LoRA weights of type {tensor.dtype}")
    return raw.view(kinds[tensor.dtype]).astype(np.float32).reshape(tensor.shape)


def _refuse_inexpressible(options: Mapping[str, Any]) -> None:
    kind = options.get("peft_type", "LORA")
    if kind != "LORA":
        raise _cannot(f"a {kind} adapter")
    used = [name for name in INEXPRESSIBLE if options.get(name)]
    if options.get("bias", "none") != "none":
        used.append("bias")
    if used:
        raise _cannot(", ".join(used))


def _cannot(what: str) -> Unsupported:
    return Unsupported(f"A GGUF adapter cannot express {what}.", todo="Export a merged model instead.")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path.name} is missing.", where=str(path), todo="Pick a complete folder.") from None
    except ValueError as error:
        raise BadInput(
            f"{path.name} is not valid JSON: {error}.", where=str(path), todo="Pick a complete folder."
        ) from None
    if not isinstance(loaded, dict):
        raise BadInput(f"{path.name} is not a JSON object.", where=str(path), todo="Pick a complete folder.")
    return loaded
