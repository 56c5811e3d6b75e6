"""The header of a GGUF file: its metadata and the table of its tensors, read in milliseconds without the data; and
models that were split into shards, checked and joined.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from store.errors import BadInput

_MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_KEPT_ITEMS = 4096
"""A longer array of strings (a vocabulary, merges) is skipped: only its length is kept."""
_BLOCK = 1 << 18
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_ALIGNMENT = 32
_REFETCH = "Download the file again, whole."


@dataclass(frozen=True, slots=True)
class Skipped:
    """Stands for an array that was not read."""

    length: int


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor in the table: `shape` in GGUF's order (fastest first), `type` GGML's number, `offset` from the data's
    start."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def bytes(self) -> int:
        """Size of the data. BadInput for a type that the gguf package does not know."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(self.type)]
        except (ValueError, KeyError):
            raise BadInput(f"The tensor {self.name} has the unknown type {self.type}.", todo=_REFETCH) from None
        return prod(self.shape) // block * size


@dataclass(frozen=True)
class Header:
    """`values` maps a metadata key to its value; `spans` to the bytes of the file that hold key and value."""

    path: Path
    version: int
    values: dict[str, Any]
    spans: dict[str, tuple[int, int]]
    tensors: tuple[TensorEntry, ...]
    data_start: int

    @property
    def architecture(self) -> str:
        """What GGUF calls the architecture, for example "llama"; "" when the file does not say."""
        return str(self.values.get("general.architecture") or "")

    def own(self, key: str, default: Any = None) -> Any:
        """The value of a key of this architecture: `own("rope.freq_base")` reads `llama.rope.freq_base`."""
        return self.values.get(f"{self.architecture}.{key}", default)

    @cached_property
    def by_name(self) -> dict[str, TensorEntry]:
        """The tensors by name."""
        return {tensor.name: tensor for tensor in self.tensors}

    def floats(self, name: str) -> list[float] | None:
        """The values of a small float32 tensor, None when there is no such tensor."""
        tensor = self.by_name.get(name)
        if tensor is None or tensor.type != 0:
            return None
        with self.path.open("rb") as file:
            file.seek(self.data_start + tensor.offset)
            raw = file.read(tensor.bytes)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def read(path: Path) -> Header:
    """Read the header. BadInput when the file is missing, no GGUF file, damaged, or shorter than its table says.

    What was read last is remembered while the file is the same: do not change it.
    """
    if not path.is_file():
        raise BadInput("There is no such file.", where=str(path))
    now = path.stat()
    return _read_once(path, now.st_ino, now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=8)
def _read_once(path: Path, _inode: int, _mtime_ns: int, size: int) -> Header:
    try:
        with path.open("rb") as file:
            header = _read(file, path)
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError, ValueError) as error:
        raise BadInput(f"The GGUF file is damaged or cut off: {error}.", where=str(path), todo=_REFETCH) from None
    end = max((tensor.offset + tensor.bytes for tensor in header.tensors), default=0)
    short = header.data_start + end - size
    if short > 0:
        raise BadInput(f"The GGUF file is cut off: {short:,} bytes are missing.", where=str(path), todo=_REFETCH)
    return header


def _read(file: BinaryIO, path: Path) -> Header:
    if file.read(4) != _MAGIC:
        todo = "Name a .gguf file, or a Hugging Face folder."
        raise BadInput("This is not a GGUF file: it does not begin with the letters GGUF.", where=str(path), todo=todo)
    version, tensor_count, value_count = _unpack(file, "<IQQ")
    if not 2 <= version <= 3:
        todo = "Convert the model again with a current llama.cpp."
        raise BadInput(f"GGUF version {version} is not supported, only 2 and 3.", where=str(path), todo=todo)
    size = path.stat().st_size
    if tensor_count > size or value_count > size:
        raise ValueError("it counts more entries than it has bytes")
    values: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    for _ in range(value_count):
        begin = file.tell()
        key = _text(file)
        (kind,) = _unpack(file, "<I")
        values[key] = _value(file, kind)
        spans[key] = begin, file.tell()
    tensors = []
    for _ in range(tensor_count):
        name = _text(file)
        (dimensions,) = _unpack(file, "<I")
        if dimensions > 8:
            raise ValueError(f"the tensor {name} has {dimensions} dimensions")
        shape = _unpack(file, f"<{dimensions}Q")
        kind, offset = _unpack(file, "<IQ")
        tensors.append(TensorEntry(name, tuple(shape), kind, offset))
    alignment = int(values.get("general.alignment") or _ALIGNMENT)
    return Header(path, version, values, spans, tuple(tensors), _aligned(file.tell(), alignment))


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind in _SCALARS:
        return _unpack(file, "<" + _SCALARS[kind])[0]
    if kind != _ARRAY:
        raise ValueError(f"it has a value of the unknown type {kind}")
    inner, length = _unpack(file, "<IQ")
    if inner in _SCALARS:
        form = f"<{length}{_SCALARS[inner]}"
        if length > _KEPT_ITEMS:
            file.seek(struct.calcsize(form), 1)
            return Skipped(length)
        return list(_unpack(file, form))
    if length > _KEPT_ITEMS and inner == _STRING:
        _skip_texts(file, length)
        return Skipped(length)
    return [_value(file, inner) for _ in range(length)]


def _skip_texts(file: BinaryIO, count: int) -> None:
    """Move behind so many texts. Reads a block at a time: a vocabulary has hundred thousands of them."""
    block, at = b"", 0
    begin = file.tell()
    for _ in range(count):
        if at + 8 > len(block):
            begin += at
            file.seek(begin)
            block, at = file.read(_BLOCK), 0
            if len(block) < 8:
                raise ValueError("it ends in the middle of its header")
        at += 8 + int.from_bytes(block[at : at + 8], "little")
    file.seek(begin + at)


def _text(file: BinaryIO) -> str:
    (size,) = _unpack(file, "<Q")
    if size > 1 << 28:
        raise ValueError("a text in it is too long")
    data = file.read(size)
    if len(data) < size:
        raise ValueError("it ends in the middle of its header")
    return data.decode("utf-8", "replace")


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    size = struct.calcsize(form)
    data = file.read(size)
    if len(data) < size:
        raise ValueError("it ends in the middle of its header")
    return struct.unpack(form, data)


def _aligned(position: int, alignment: int) -> int:
    return (position + alignment - 1) // alignment * alignment


# --- shards -----------------------------------------------------------------------------------------------------------


def shards(path: Path) -> list[Path]:
    """All files of the model that `path` names: itself, or every shard in order when it was split.

    Raises BadInput when `path` is not the first shard, when a shard is missing, or when the shards together hold
    another number of tensors than the first one promises.
    """
    first = read(path)
    count = int(first.values.get("split.count") or 1)
    match = _SHARD.fullmatch(path.name)
    if count <= 1 and (match is None or int(match["count"]) <= 1):
        return [path]
    if match is None:
        raise BadInput(
            f"The file is one of {count} shards of a split model, and its name does not say which.",
            where=str(path),
            todo="Give the shards their names back: NAME-00001-of-00003.gguf and so on.",
        )
    count = max(count, int(match["count"]))
    names = [path.with_name(f"{match['stem']}-{n:05d}-of-{match['count']}{path.suffix}") for n in range(1, count + 1)]
    if path != names[0]:
        raise BadInput(
            f"This is shard {int(match['number'])} of {count} of a split model.",
            where=str(path),
            todo=f"Name the first shard: {names[0].name}",
        )
    absent = [shard.name for shard in names if not shard.is_file()]
    if absent:
        raise BadInput(
            f"{len(absent)} of the {count} shards of this model are missing, the first of them {absent[0]}.",
            where=str(path.parent),
            todo="Download the missing shards into the same folder.",
        )
    promised = first.values.get("split.tensors.count")
    held = sum(len(read(shard).tensors) for shard in names)
    if isinstance(promised, int) and promised != held:
        raise BadInput(
            f"The model has {promised} tensors, and its {count} shards hold {held}.", where=str(path), todo=_REFETCH
        )
    return names


def join(parts: Sequence[Path], out: Path) -> Path:
    """Write the shards `parts` as one GGUF file: the first one's metadata, everyone's tensors. Returns `out`.

    Data is copied as it is, so no weight changes. Peak memory is a copy buffer.
    """
    headers = [read(part) for part in parts]
    first = headers[0]
    alignment = int(first.values.get("general.alignment") or _ALIGNMENT)
    kept = [span for key, span in first.spans.items() if not key.startswith("split.")]
    entries = [(header, tensor) for header in headers for tensor in header.tensors]
    with out.open("wb") as file:
        file.write(_MAGIC + struct.pack("<IQQ", first.version, len(entries), len(kept)))
        with first.path.open("rb") as source:
            for begin, end in kept:
                source.seek(begin)
                file.write(source.read(end - begin))
        offset = 0
        for _, tensor in entries:
            name = tensor.name.encode()
            file.write(struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.shape)))
            file.write(struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape) + struct.pack("<IQ", tensor.type, offset))
            offset += _aligned(tensor.bytes, alignment)
        for header in headers:
            with header.path.open("rb") as source:
                for tensor in header.tensors:
                    file.write(b"\0" * (_aligned(file.tell(), alignment) - file.tell()))
                    source.seek(header.data_start + tensor.offset)
                    _copy(source, file, tensor.bytes)
    return out


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    step = shutil.COPY_BUFSIZE  # type: ignore[attr-defined]
    while size > 0:
        data = source.read(min(step, size))
        if not data:
            raise BadInput("The GGUF file is cut off.", where=source.name, todo=_REFETCH)
        target.write(data)
        size -= len(data)
