"""What the GGUF file held that a prepared folder was made from: the types of its tensors.
A file that was quantised already is trained on as it is; a second quantisation would make another model."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from engine.core.files import write_json
from engine.gguf import header
from store.errors import BadInput

FILE = "source.json"
_PLAIN = frozenset({"F64", "F32", "F16", "BF16"})


def types_of(parts: Iterable[Path]) -> dict[str, int]:
    """How many of the matrices of a GGUF file, given as all its shards, have each type; the most frequent first.

    Vectors (norms, biases) are left out: they stay in float32 in every file.
    """
    from gguf import GGMLQuantizationType

    names = {kind.value: kind.name for kind in GGMLQuantizationType}
    found = Counter(
        names.get(tensor.type, str(tensor.type))
        for part in parts
        for tensor in header.read(part).tensors
        if len([n for n in tensor.shape if n > 1]) > 1
    )
    return dict(found.most_common())


@dataclass(frozen=True, slots=True)
class GgufSizes:
    """Numbers of weights in a GGUF file, all and without embeddings and head, its shape, and its `own_blocks`."""

    weights: int
    linear: int
    layers: int
    hidden: int
    vocabulary: int
    own_blocks: str


def sizes(file: Path) -> GgufSizes:
    """What the header of a GGUF file, with all its shards, says about its size. BadInput when it cannot be read."""
    parts = header.shards(file)
    headers = [header.read(part) for part in parts]
    tensors = {tensor.name: tensor.shape for each in headers for tensor in each.tensors}
    ends = [tensors[name] for name in ("token_embd.weight", "output.weight") if name in tensors]
    weights = sum(prod(shape) for shape in tensors.values())
    return GgufSizes(
        weights=weights,
        linear=weights - sum(prod(shape) for shape in ends),
        layers=int(headers[0].own("block_count", 1)),
        hidden=int(headers[0].own("embedding_length", 1)),
        vocabulary=max((shape[-1] for shape in ends), default=0),
        own_blocks=in_words(types_of(parts)),
    )


def record(parts: Sequence[Path], folder: Path) -> None:
    """Write `folder`/source.json: {"file", "types", "quantised"}."""
    types = types_of(parts)
    about = {"file": parts[0].name, "types": types, "quantised": is_quantised(types)}
    write_json(folder / FILE, about)


def complete(file: Path, folder: Path) -> None:
    """Write source.json into a folder that was prepared from `file` by a version that did not keep it.

    A file that is damaged by now changes nothing: whatever reads it next says so.
    """
    if not (folder / FILE).is_file():
        with contextlib.suppress(BadInput):
            record(header.shards(file), folder)


def is_quantised(types: Iterable[str]) -> bool:
    """Whether tensors of these types were quantised: some have fewer than 16 bits."""
    return any(kind not in _PLAIN for kind in types)


def own_blocks(folder: Path) -> str:
    """The types of the quantised file that a prepared folder came from, such as "Q4_1 and Q6_K"; "" when it came from
    16-bit weights or from no GGUF file."""
    try:
        about: dict[str, Any] = json.loads((folder / FILE).read_text("utf-8"))
        return in_words(about["types"]) if about["quantised"] else ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def no_second_quantisation(blocks: str) -> str:
    """What a 4-bit run on a file with these `own_blocks` does, as a sentence for its log and preflight."""
    return (
        f"The GGUF file is quantised already ({blocks}): the run trains on its own blocks, dequantised to 16 bits, as "
        "the method lora does. A second quantisation to 4 bits would train another model than chat and exports use."
    )


def in_words(types: Iterable[str]) -> str:
    """The quantised types among these, in a sentence's words."""
    names = [kind for kind in types if kind not in _PLAIN]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
