"""A base folder and an adapter become a merged Hugging Face folder, or a PEFT folder that names no local path.
One tensor in memory at a time, numpy only; verification and places are not here."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.core.files import read_json
from engine.gguf.tensors import MergedWeights, table_of

TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
    "generation_config.json",
)  # fmt: skip
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}
Progress = Callable[[int, int], None]


def write_merged(
    base: Path, adapter: Path | None, tokenizer: Path, out: Path, on_progress: Progress | None = None
) -> list[str]:
    """Write the merged model into the folder `out`: safetensors in the base's own types, config, tokenizer, template.

    Deltas are added in float32 and rounded once. `tokenizer` is the folder whose tokenizer and template travel: the
    run's. Returns the file names. Raises BadInput for broken or foreign inputs, Unsupported for an adapter that cannot
    be merged; `on_progress(done, total)` counts tensors and may raise to cancel.
    """
    weights = MergedWeights(base, adapter)
    table, end = {}, 0
    for name, tensor in weights.tensors.items():
        size = math.prod(tensor.shape) * _SIZES[tensor.dtype]
        table[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
    header = json.dumps({"__metadata__": {"format": "pt"}, **table}).encode()
    header += b" " * (-len(header) % 8)  # the format wants the values aligned
    with (out / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for done, (name, tensor) in enumerate(weights.tensors.items(), 1):
            plain = name.removesuffix(".weight") not in weights.deltas
            file.write(tensor.mmap_bytes() if plain else _packed(weights(name), tensor.dtype))
            if on_progress:
                on_progress(done, len(table))
    weights.check_consumed()
    config = weights.config()
    config.pop("_name_or_path", None)  # no path of this machine leaves it
    _write_json(out / "config.json", config)
    return ["model.safetensors", "config.json", *copy_tokenizer(base, tokenizer, out)]


def write_adapter(adapter: Path, base_name: str, out: Path) -> list[str]:
    """Copy a PEFT folder to `out`, its base called by `base_name`; returns the file names.

    Raises BadInput for broken adapter files.
    """
    table_of(adapter / "adapter_model.safetensors", "Pick another checkpoint.")  # a broken one is refused first
    options = read_json(adapter / "adapter_config.json")
    _write_json(out / "adapter_config.json", options | {"base_model_name_or_path": base_name})
    shutil.copyfile(adapter / "adapter_model.safetensors", out / "adapter_model.safetensors")
    return ["adapter_config.json", "adapter_model.safetensors", *copy_tokenizer(adapter, adapter, out)]


def copy_tokenizer(base: Path, tokenizer: Path, out: Path) -> list[str]:
    """The tokenizer's files, each from the run's folder when it is there, else from the base's."""
    found = {name: folder / name for folder in (base, tokenizer) for name in TOKENIZER if (folder / name).is_file()}
    for name, path in found.items():
        shutil.copyfile(path, out / name)
    return list(found)


def _write_json(path: Path, body: dict[str, object]) -> None:
    path.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _packed(values: np.ndarray, dtype: str) -> bytes:
    """Values in the file's type; bfloat16, which numpy lacks, is a float32 rounded to its upper half, ties to even."""
    if dtype != "BF16":
        return values.astype({"F64": np.float64, "F16": np.float16}.get(dtype, np.float32)).tobytes()
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16).tobytes()
