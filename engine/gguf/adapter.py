"""A PEFT LoRA adapter folder becomes one GGUF adapter file for llama.cpp: numpy and gguf only, no torch.
Every scale is folded into B: llama.cpp knows alpha / rank alone, and would get rsLoRA and per-module alphas wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

from engine.core.files import read_json
from engine.gguf.architectures import ModelShape, permute_for, shape_of
from engine.gguf.metadata import FileMetadata, write_metadata
from engine.gguf.tensors import LoraFactors, cannot, read_adapter
from store.files import replacing


def convert(adapter: Path, base: Path, out: Path, about: FileMetadata | None = None) -> Path:
    """Write `adapter` (PEFT folder) for a base whose `config.json` is in the folder `base`, as float32, to `out`.

    The file appears whole or not at all. Raises BadInput when a file is missing or broken, Unsupported naming what a
    GGUF adapter cannot express (DoRA, saved modules, biases, an unknown architecture).
    """
    shape = shape_of(read_json(base / "config.json"))
    deltas = read_adapter(adapter)
    with replacing(out) as part:
        _write(deltas, shape, part, about)
    return out


def _write(deltas: Mapping[str, LoraFactors], shape: ModelShape, out: Path, about: FileMetadata | None) -> None:
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == shape.arch.name)
    names = gguf.get_tensor_name_map(arch, shape.layers)
    writer = gguf.GGUFWriter(out, shape.arch.name)
    try:
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", 0.0)  # 0 makes llama.cpp apply B @ A without scaling
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        if about:
            write_metadata(writer, about)
        for module, delta in deltas.items():
            name = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
            if name is None or (shape.tied and (delta.embedding or module == "lm_head")):
                tied = ", whose table is embedding and output at once" if name or module == "lm_head" else ""
                raise cannot(f"a LoRA on {module}{tied}")
            for side, array in zip("ab", _factors(module, delta, shape), strict=True):
                writer.add_tensor(f"{name}.lora_{side}", np.ascontiguousarray(array))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _factors(module: str, delta: LoraFactors, shape: ModelShape) -> tuple[np.ndarray, np.ndarray]:
    """A of shape (rank, in) and B of shape (out, rank) as float32, B scaled and its rows in GGUF order."""
    a, b = delta.factors()
    if delta.embedding:
        a = a.T  # llama.cpp looks the rows of an embedding's A up by token id
    return a, permute_for(module, b, shape)
