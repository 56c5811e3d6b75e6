"""The safetensors files of a model folder, as their headers and the index describe them; no weight is read.
Format: https://huggingface.co/docs/safetensors."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.errors import BadInput, Unsupported

INDEX = "model.safetensors.index.json"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
"""What PEFT writes; beside a whole model they are leftovers, not a part of it."""
_MAX_HEADER = 100 * 1024**2  # safetensors' own limit
_NAMED = 3
"""How many tensors or files a message names."""


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One tensor as its file describes it: the type as safetensors names it ("BF16"), the shape, and the bytes."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    bytes: int


def read_tensors(folder: Path) -> dict[str, TensorHeader]:
    """Every tensor of a folder's safetensors files, by name.

    Raises Unsupported for pickled weights, BadInput for no weights, a shard that is missing, cut off or damaged, or an
    index that names tensors which no file has.
    """
    files = weight_files(folder)
    found: dict[str, TensorHeader] = {}
    for file in files:
        found |= read_header(file)
    index = folder / INDEX
    if index.is_file():
        named = json_object(index).get("weight_map") or {}
        lost = sorted(set(named) - set(found))
        if lost:
            raise BadInput(
                f"The index names {counted(lost, 'tensor')} that no file of this folder has: {some_names(lost)}.",
                where=str(index),
                todo="Download the model again.",
            )
    return found


def read_header(file: Path) -> dict[str, TensorHeader]:
    """The tensors of one safetensors file (https://huggingface.co/docs/safetensors): eight bytes with the header's
    length, a JSON header, the data. BadInput when the file is damaged or cut off."""
    todo = "Download or copy the file again."
    size = file.stat().st_size
    try:
        with file.open("rb") as data:
            (length,) = struct.unpack("<Q", data.read(8))
            if length > min(size - 8, _MAX_HEADER):
                raise BadInput("The safetensors file is cut off or damaged.", where=str(file), todo=todo)
            header = json.loads(data.read(length))
        made = {
            name: TensorHeader(
                str(entry["dtype"]),
                tuple(int(n) for n in entry["shape"]),
                file,
                int(entry["data_offsets"][1]) - int(entry["data_offsets"][0]),
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
        end = max((int(entry["data_offsets"][1]) for n, entry in header.items() if n != "__metadata__"), default=0)
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise BadInput("The safetensors file is damaged.", where=str(file), todo=todo) from None
    if 8 + length + end > size:
        missing = 8 + length + end - size
        raise BadInput(f"The safetensors file is cut off: {missing:,} bytes are missing.", where=str(file), todo=todo)
    return made


def weight_files(folder: Path) -> list[Path]:
    """The files with the model's weights. Raises like `read_tensors`."""
    index = folder / INDEX
    if index.is_file():
        weight_map = json_object(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise BadInput("The index names no tensors.", where=str(index), todo="Download the model again.")
        names = sorted({str(name) for name in weight_map.values()})
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            raise BadInput(
                f"{counted(absent, 'file')} of the {len(names)} with weights are missing: {some_names(absent)}."
                if len(absent) > 1
                else f"One of the {len(names)} files with weights is missing: {absent[0]}.",
                where=str(folder),
                todo="Download the model again, whole.",
            )
        return [folder / name for name in names]
    files = sorted(path for path in folder.glob("*.safetensors") if path.name not in ADAPTER_FILES)
    shards = {match[2] for path in files if (match := re.fullmatch(r"(.+)-\d{5}-of-(\d{5})\.safetensors", path.name))}
    if shards:
        expected = max(int(count) for count in shards)
        if len(files) < expected:
            raise BadInput(
                f"Only {len(files)} of the {expected} files with weights are here, and {INDEX} is missing.",
                where=str(folder),
                todo="Download the model again, whole.",
            )
    if not files:
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
            raise Unsupported(
                "The model's weights are pickled, and loading them can run foreign code.",
                where=str(folder),
                todo="Use a folder with .safetensors files, or convert this one on a machine that you trust.",
            )
        raise BadInput("This model folder has no weights (*.safetensors).", where=str(folder))
    return files


def json_object(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. BadInput when it is missing or is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path.name} is missing.", where=str(path), todo="Name a Hugging Face model folder.") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path.name} cannot be read as JSON: {error}.", where=str(path)) from None
    if not isinstance(found, dict):
        raise BadInput(f"{path.name} is not a JSON object.", where=str(path))
    return found


def some_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def counted(names: Sequence[str], word: str) -> str:
    """How many there are: "1 tensor", "3 tensors"."""
    return f"{len(names):,} {word}" + ("" if len(names) == 1 else "s")
