"""GGUF files prepared for training: the folder computes what the original model computes, for every architecture, also
with scaled rope, heads of another size, and a model that was split into shards."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.gguf.metadata import FileMetadata
from engine.gguf.model import write_gguf
from engine.training.worker import convert_gguf
from store.errors import BadInput, Unsupported
from tests import archs


def exported(name: str, folder: Path) -> tuple[Path, Path]:
    """The tiny model `name` as a Hugging Face folder and as a float32 GGUF file."""
    base = archs.make(name, folder / name)
    return base, write_gguf(base, None, folder / f"{name}.gguf", "f32", FileMetadata("tiny"))


def divergence(one: Path, other: Path) -> float:
    """Mean KL divergence in nats between two folders' next-token distributions on 120 random ids."""
    ids = torch.randint(5, 300, (1, 120), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        a, b = (
            AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32)(ids).logits.log_softmax(-1)
            for f in (one, other)
        )
    return float((a.exp() * (a - b)).sum(-1).mean())


@pytest.mark.parametrize("name", archs.ARCHS)
def test_a_prepared_file_computes_what_the_model_does(name: str, tmp_path: Path) -> None:
    base, file = exported(name, tmp_path)
    folder = convert_gguf.prepare(file, tmp_path / "prepared", lambda text: None)
    assert divergence(base, folder) < 1e-4  # the weights are rounded to bfloat16
    before, after = (json.loads((f / "config.json").read_text()) for f in (base, folder))
    for key in ("head_dim", "query_pre_attn_scalar", "sliding_window"):
        if before.get(key) is not None and name != "mistral":
            assert after[key] == before[key]


def test_llama_3_rope_survives(tmp_path: Path) -> None:
    base, file = exported("llama3", tmp_path)
    folder = convert_gguf.prepare(file, tmp_path / "prepared", lambda text: None)
    rope = [json.loads((f / "config.json").read_text())["rope_parameters"] for f in (base, folder)]
    assert rope[0] == rope[1] and rope[1]["rope_type"] == "llama3"
    again = write_gguf(folder, None, tmp_path / "again.gguf", "f32", FileMetadata("tiny"))
    factors = [next(t.data for t in gguf.GGUFReader(f).tensors if t.name == "rope_freqs.weight") for f in (file, again)]
    assert (factors[0] == factors[1]).all() and factors[0].max() > 1


def test_all_shards_are_read(tmp_path: Path) -> None:
    base, file = exported("smollm", tmp_path)
    parts = shards_of(file, tmp_path / "shards", 3)
    folder = convert_gguf.prepare(parts[0], tmp_path / "prepared", lambda text: None)
    assert divergence(base, folder) < 1e-4
    assert not list(folder.glob("*.gguf"))
    with pytest.raises(BadInput, match="Name the first shard"):
        convert_gguf.prepare(parts[1], tmp_path / "other", lambda text: None)
    parts[2].unlink()
    with pytest.raises(BadInput, match="missing"):
        convert_gguf.prepare(parts[0], tmp_path / "third", lambda text: None)
    assert not (tmp_path / "third").exists()


def test_a_missing_tensor_is_never_made_up(tmp_path: Path) -> None:
    _, file = exported("smollm", tmp_path)
    for name in ("blk.1.attn_q.weight", "output_norm.weight"):
        less = copy(file, tmp_path / "less.gguf", lambda tensor, name=name: tensor != name)
        with pytest.raises(Unsupported):
            convert_gguf.prepare(less, tmp_path / "prepared", lambda text: None)
        assert not (tmp_path / "prepared").exists()


def copy(source: Path, out: Path, keep, **values: int) -> Path:  # type: ignore[no-untyped-def]
    """A GGUF file with some of another's tensors and all of its metadata."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, "llama")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=sub)
    for key, value in values.items():
        writer.add_uint16(key.replace("__", "."), value)
    for tensor in reader.tensors:
        if keep(tensor.name):
            writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def shards_of(file: Path, folder: Path, count: int) -> list[Path]:
    """The file split as llama.cpp's gguf-split names and marks shards."""
    folder.mkdir()
    names = [tensor.name for tensor in gguf.GGUFReader(file).tensors]
    return [
        copy(
            file, folder / f"tiny-{n + 1:05d}-of-{count:05d}.gguf", lambda name, n=n: names.index(name) % count == n,
            split__no=n, split__count=count, split__tensors__count=len(names),
        )
        for n in range(count)
    ]  # fmt: skip
