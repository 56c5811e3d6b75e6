"""A base folder and an adapter become one GGUF model file in one pass, a tensor at a time: no merged folder, no torch.
K-quants are made by llama.cpp from the float16 pass; verification and names of targets are not here."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import LlamaFileType as FileType

from engine.gguf.architectures import ModelShape, permute_for, shape_of
from engine.gguf.hyperparameters import made_tensors, text_config, write_hparams
from engine.gguf.llama_library import library
from engine.gguf.metadata import FileMetadata, write_metadata
from engine.gguf.tensors import MergedWeights
from engine.gguf.vocabulary import find_pre, write_vocab
from store.errors import TuningforkError, Unsupported
from store.files import replacing

# What the single pass writes: file type, and the type of two-dimensional tensors.
DIRECT: dict[str, tuple[FileType, Kind]] = {
    "f32": (FileType.ALL_F32, Kind.F32),
    "f16": (FileType.MOSTLY_F16, Kind.F16),
    "bf16": (FileType.MOSTLY_BF16, Kind.BF16),
    "q8_0": (FileType.MOSTLY_Q8_0, Kind.Q8_0),
}
# What llama.cpp makes of a float16 file: the constant's name in its C API.
QUANTISED: dict[str, str] = {
    "q6_k": "LLAMA_FTYPE_MOSTLY_Q6_K",
    "q5_k_m": "LLAMA_FTYPE_MOSTLY_Q5_K_M",
    "q4_k_m": "LLAMA_FTYPE_MOSTLY_Q4_K_M",
    "q4_0": "LLAMA_FTYPE_MOSTLY_Q4_0",
    "q4_1": "LLAMA_FTYPE_MOSTLY_Q4_1",
    "iq4_xs": "LLAMA_FTYPE_MOSTLY_IQ4_XS",
    "q3_k_m": "LLAMA_FTYPE_MOSTLY_Q3_K_M",
    "iq3_m": "LLAMA_FTYPE_MOSTLY_IQ3_M",
    "iq2_m": "LLAMA_FTYPE_MOSTLY_IQ2_M",
}
QUANTS = (*DIRECT, *QUANTISED)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    kind: Kind
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        if self.kind == Kind.Q8_0:
            return math.prod(gguf.quant_shape_to_byte_shape(self.shape, self.kind))
        return math.prod(self.shape) * (4 if self.kind == Kind.F32 else 2)


def write_gguf(
    base: Path, adapter: Path | None, out: Path, quant: str, about: FileMetadata, on_progress: Progress | None = None
) -> Path:
    """Write the model to `out` as f32, f16, bf16 or q8_0; it appears whole or not at all. Peak memory is one tensor's.

    `on_progress(done, total)` counts tensors and may raise to cancel. Raises BadInput for broken or foreign inputs,
    Unsupported for
    what GGUF or the native path cannot express.
    """
    weights = MergedWeights(base, adapter)
    c = text_config(weights.config())
    with replacing(out) as part:
        pre = find_pre(base, c, part)
        writer = gguf.GGUFWriter(part, shape_of(c).arch.name)
        try:
            _write(writer, weights, c, quant, pre, about, on_progress)
        finally:
            writer.close()
        weights.check_consumed()
    return out


def tensor_name(full: str, shape: ModelShape) -> str | None:
    """What GGUF calls a tensor of a checkpoint: `blk.0.attn_q.weight` for `model.layers.0.self_attn.q_proj.weight`."""
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == shape.arch.name)
    found = gguf.get_tensor_name_map(arch, shape.layers).get_name(full, try_suffixes=(".weight", ".bias"))
    return str(found) if found is not None else None


def quantise(
    source: Path, out: Path, quant: str, threads: int = 0, importance: Mapping[str, np.ndarray] | None = None
) -> Path:
    """Have llama.cpp make `out` from the float16 file `source`. `importance` weighs the columns of each matrix: by
    tensor name, float32 of shape (row length,). Raises TuningforkError when it cannot."""
    lib = library()
    params = lib.llama_model_quantize_default_params()
    params.ftype = getattr(lib, QUANTISED[quant])
    params.nthread = threads or os.cpu_count() or 1
    arrays = {name: np.ascontiguousarray(values, np.float32) for name, values in (importance or {}).items()}
    if arrays:  # kept alive by this frame until the call is over; an entry without a name ends the list
        table = (lib.llama_model_imatrix_data * (len(arrays) + 1))()
        for entry, (name, values) in zip(table, arrays.items(), strict=False):
            entry.name, entry.size = name.encode(), values.size
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        params.imatrix = table
    with replacing(out) as part:
        if lib.llama_model_quantize(str(source).encode(), str(part).encode(), params) != 0:
            raise TuningforkError(
                f"llama.cpp could not make {quant} of the model.", where=str(source), todo="Try --quant q8_0."
            )
    return out


def types_of(file: gguf.GGUFReader) -> dict[str, int]:
    """How many tensors of each type a GGUF file really holds, for example {"F32": 61, "Q5_0": 180}."""
    counts: dict[str, int] = {}
    for tensor in file.tensors:
        counts[tensor.tensor_type.name] = counts.get(tensor.tensor_type.name, 0) + 1
    return counts


def _write(
    writer: gguf.GGUFWriter,
    weights: MergedWeights,
    c: Mapping,
    quant: str,
    pre: str | None,
    about: FileMetadata,
    on_progress: Progress | None,
) -> None:
    file_type, kind = DIRECT[quant]
    made = [_Tensor(name, array.shape, Kind.F32, partial(np.asarray, array)) for name, array in made_tensors(writer, c)]
    plan = [*made, *_plan(weights, c, kind)]
    for tensor in plan:
        writer.add_tensor_info(tensor.name, tensor.shape, np.float32, tensor.nbytes, raw_dtype=tensor.kind)  # type: ignore[arg-type]
    writer.add_type(gguf.GGUFType.MODEL)
    write_metadata(writer, about)
    write_hparams(writer, c)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    write_vocab(writer, weights.base, c, pre)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for done, tensor in enumerate(plan, start=1):
        writer.write_tensor_data(gguf.quants.quantize(np.ascontiguousarray(tensor.read()), tensor.kind))
        if on_progress:
            on_progress(done, len(plan))


def _plan(weights: MergedWeights, c: Mapping, kind: Kind) -> list[_Tensor]:
    """Every tensor of the file in the order of the base's names, with the type it gets and how to read it."""
    shape = shape_of(c)
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == shape.arch.name)
    names = gguf.get_tensor_name_map(arch, shape.layers)
    plan = []
    for full, tensor in weights.tensors.items():
        if full.endswith((".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")):
            continue
        if full == "lm_head.weight" and shape.tied:
            continue  # a tied model has no output tensor: llama.cpp reuses the embedding
        name = names.get_name(full, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise Unsupported(f"GGUF has no name for the tensor {full}.", todo="Use --converter official.")
        own = kind if len(tensor.shape) > 1 and not name.endswith("_norm.weight") else Kind.F32
        if own == Kind.Q8_0 and tensor.shape[-1] % 32:
            own = Kind.F16  # blocks of q8_0 hold 32 values
        plan.append(_Tensor(name, tuple(tensor.shape), own, partial(_arranged, weights, full, shape)))
    return plan


def _arranged(weights: MergedWeights, full: str, shape: ModelShape) -> np.ndarray:
    """A tensor in GGUF's terms: q and k rows reordered, Gemma's norms with their 1 added."""
    values = weights(full)
    if shape.arch.name.startswith("gemma") and full.endswith("norm.weight"):
        values = values + np.float32(1.0)
    module = full.rsplit(".", 1)[0]
    return permute_for(module, values, shape)
