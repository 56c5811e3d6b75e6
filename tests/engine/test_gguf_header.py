"""GGUF headers read without the data, held against the official reader; damaged files; shards checked and joined."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.gguf import header
from store.errors import BadInput

TENSORS = {
    f"blk.{n}.{name}.weight": np.random.default_rng(n).standard_normal((4, 32), np.float32)
    for n in range(3)
    for name in ("attn_q", "attn_k")
}


def write(path: Path, tensors: dict[str, np.ndarray], **values: int) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(3)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{n}" for n in range(5000)])
    writer.add_array("llama.some", [1, 2, 3])
    for key, value in values.items():
        writer.add_uint16(key.replace("__", "."), value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def split(folder: Path, count: int = 3, promised: int = len(TENSORS), stem: str = "tiny") -> list[Path]:
    folder.mkdir(exist_ok=True)
    parts = [dict(list(TENSORS.items())[n::count]) for n in range(count)]
    return [
        write(
            folder / f"{stem}-{n + 1:05d}-of-{count:05d}.gguf", part,
            split__no=n, split__count=count, split__tensors__count=promised,
        )
        for n, part in enumerate(parts)
    ]  # fmt: skip


def test_says_what_the_official_reader_says(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", TENSORS)
    found, official = header.read(path), gguf.GGUFReader(path)
    assert found.architecture == "llama" and found.own("block_count") == 3 and found.own("some") == [1, 2, 3]
    assert found.values["tokenizer.ggml.tokens"] == header.Skipped(5000)
    assert [(t.name, list(t.shape), t.type, found.data_start + t.offset, t.bytes) for t in found.tensors] == [
        (t.name, t.shape.tolist(), int(t.tensor_type), t.data_offset, int(t.n_bytes)) for t in official.tensors
    ]
    assert np.allclose(found.floats("blk.0.attn_q.weight") or [], TENSORS["blk.0.attn_q.weight"].ravel())


@pytest.mark.parametrize("block", [8, 13, 1000])
def test_a_vocabulary_is_skipped_however_it_falls_into_blocks(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "m.gguf", TENSORS)
    whole = header.read(path)
    header._read_once.cache_clear()
    monkeypatch.setattr(header, "_BLOCK", block)
    assert header.read(path) == whole


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", TENSORS)
    found = header.read(path)
    assert header.read(path) is found
    write(path, TENSORS, llama__more=7)
    assert header.read(path).own("more") == 7
    assert found.floats("nothing") is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-200], "bytes are missing"),
        (lambda data: data[:1000], "damaged or cut off"),
        (lambda data: data[:10], "damaged or cut off"),
        (lambda data: b"ggml" + data[4:], "does not begin with the letters GGUF"),
        (lambda data: b"", "does not begin"),
        (lambda data: data[:4] + struct.pack("<I", 9) + data[8:], "version 9"),
        (lambda data: data[:8] + struct.pack("<Q", 1 << 60) + data[16:], "more entries"),
    ],
)
def test_damaged_files_are_named(damage, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / "m.gguf", TENSORS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInput, match=words):
        header.read(path)


class TestShards:
    def test_one_file_is_itself(self, tmp_path: Path) -> None:
        path = write(tmp_path / "m.gguf", TENSORS)
        assert header.shards(path) == [path]

    def test_joined_shards_hold_every_tensor_and_the_first_ones_metadata(self, tmp_path: Path) -> None:
        parts = split(tmp_path / "s")
        assert header.shards(parts[0]) == parts
        whole = header.join(parts, tmp_path / "whole.gguf")
        read = {tensor.name: tensor.data for tensor in gguf.GGUFReader(whole).tensors}
        assert read.keys() == TENSORS.keys()
        assert all(np.array_equal(read[name], tensor) for name, tensor in TENSORS.items())
        values = header.read(whole).values
        assert values["general.name"] == "tiny" and not [key for key in values if key.startswith("split.")]

    @pytest.mark.parametrize("lost", [1, 2])
    def test_a_missing_shard_is_named(self, lost: int, tmp_path: Path) -> None:
        parts = split(tmp_path / "s")
        parts[lost].unlink()
        with pytest.raises(BadInput, match=parts[lost].name):
            header.shards(parts[0])

    def test_another_shard_than_the_first_names_the_first(self, tmp_path: Path) -> None:
        parts = split(tmp_path / "s")
        with pytest.raises(BadInput, match="shard 2 of 3") as caught:
            header.shards(parts[1])
        assert parts[0].name in str(caught.value)

    def test_fewer_tensors_than_promised(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="has 20 tensors, and its 3 shards hold 6"):
            header.shards(split(tmp_path / "s", promised=20)[0])

    def test_a_renamed_shard_does_not_pass_for_a_whole_model(self, tmp_path: Path) -> None:
        renamed = split(tmp_path / "s")[0].rename(tmp_path / "model.gguf")
        with pytest.raises(BadInput, match="one of 3 shards"):
            header.shards(renamed)
