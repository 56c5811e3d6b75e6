"""The importance matrix of a run: which columns of its weights its own data and general questions use most.
Rows are chosen here and tensors named; the activations are measured by the process with torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.core import child, process, sample_files
from engine.gguf.architectures import shape_of
from engine.gguf.hyperparameters import text_config
from engine.gguf.model import tensor_name
from engine.gguf.tensors import MergedWeights
from engine.models.chat_template import ChatTemplate
from store.errors import TuningforkError, WorkerError
from store.records import Message, SnapshotRow

OWN_ROWS, GENERAL_ROWS, ROW_TOKENS = 160, 80, 128
_FILE = "importance.npz"
Count = Callable[[int, int], None]


def matrix(
    base: Path, adapter: Path | None, tokenizer: Path, rows: Sequence[SnapshotRow], scratch: Path, count: Count
) -> Mapping[str, np.ndarray]:
    """The mean squared input of each column, by GGUF tensor name: float32 arrays of shape (row length,).

    This is what llama.cpp's `llama-imatrix` collects (https://github.com/ggml-org/llama.cpp/pull/4861), measured on
    `rows` of the run's data and on general pairs, so that a coarse quant keeps both. Measured once and kept in
    `scratch`. `count(done, total)` counts rows. Raises WorkerError when the process that measures fails.
    """
    kept = scratch / _FILE
    if not kept.exists():
        _measure(base, adapter, _token_ids(tokenizer, rows), kept, count)
    shape = shape_of(text_config(MergedWeights(base, adapter).config()))
    found: dict[str, np.ndarray] = {}
    with np.load(kept) as arrays:
        for full in arrays.files:
            name = tensor_name(full, shape)
            if full == "lm_head.weight" and shape.tied:
                name = "token_embd.weight"  # the one table serves both; as an output its columns are weighed
            if name is not None:
                found[name] = arrays[full]
    return found


def _token_ids(tokenizer: Path, rows: Sequence[SnapshotRow]) -> list[list[int]]:
    """Token ids: rows of the run's data, the trained ones first, and general pairs that every model answers."""
    template = ChatTemplate.load(tokenizer)
    own = sorted(rows, key=lambda row: (row.split != "train", row.content_hash))[:OWN_ROWS]
    texts: list[list[Message]] = [row.messages for row in own]
    with sample_files.path("general").open(encoding="utf-8") as lines:
        texts += [json.loads(line)["messages"] for line in lines][:GENERAL_ROWS]
    return [list(template.example(messages, ROW_TOKENS).ids) for messages in texts]


def _measure(base: Path, adapter: Path | None, rows: list[list[int]], out: Path, count: Count) -> None:
    request = out.with_suffix(".json")
    request.write_text(json.dumps({"folder": str(base), "adapter": adapter and str(adapter), "rows": rows}), "utf-8")
    count(0, len(rows))
    argv, env = process.command("importance", str(request)), process.environment()
    try:
        with child.Child(argv, "Measuring activations", env=env) as work:
            for message in work.messages():
                if "progress" in message:
                    count(*message["progress"])
    except WorkerError:
        raise
    except TuningforkError as error:
        raise WorkerError(f"The activations could not be measured: {error.what}", todo=error.todo) from error
