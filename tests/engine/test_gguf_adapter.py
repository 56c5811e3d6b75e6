"""PEFT LoRA to GGUF adapter: what llama.cpp computes with it equals the merged weights, whatever the scaling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from engine.gguf.adapter import convert
from engine.gguf.llama_library import LlamaModel
from engine.inference.backends.llama_context import Context
from store.errors import BadInput, Unsupported
from tests.engine.tiny_gguf import Lora, write_adapter, write_config, write_gguf

IDS = [257, 104, 101, 108, 108, 111, 258, 10, 257, 120, 33, 200, 7]
SCALINGS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "alpha pattern": {"alpha_pattern": {"q_proj": 16.0, "layers.1.mlp.down_proj": 2.0}},
    "both": {"use_rslora": True, "alpha_pattern": {"v_proj": 1.0}},
}


def logits(gguf: Path, adapter: Path | None = None) -> np.ndarray:
    weights = LlamaModel(gguf)
    try:
        context = Context(weights, 64, 1)
        context.use_adapter(adapter)
        context.prefill(IDS)
        return np.array(context.logits())
    finally:
        weights.free()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_config(tmp_path / "base")


@pytest.mark.parametrize("options", SCALINGS.values(), ids=SCALINGS.keys())
def test_adapter_file_computes_what_the_merged_weights_compute(tmp_path: Path, base: Path, options: dict) -> None:
    lora = Lora(options=options)
    plain = write_gguf(tmp_path / "plain.gguf")
    out = convert(write_adapter(tmp_path / "adapter", lora), base, tmp_path / "adapter.gguf")
    want, got = logits(write_gguf(tmp_path / "merged.gguf", merged=lora)), logits(plain, out)
    assert np.abs(want - logits(plain)).max() > 0.1, "the adapter must change something, or this proves nothing"
    assert np.abs(want - got).max() < 2e-3


def test_half_precision_adapters_are_read(tmp_path: Path, base: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", Lora())
    file = folder / "adapter_model.safetensors"
    save_file({name: array.astype(np.float16) for name, array in load_file(file).items()}, file)
    plain = write_gguf(tmp_path / "plain.gguf")
    want = logits(write_gguf(tmp_path / "merged.gguf", merged=Lora()))
    assert np.abs(want - logits(plain, convert(folder, base, tmp_path / "a.gguf"))).max() < 0.1


def test_bfloat16_values_survive(tmp_path: Path, base: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", Lora())
    file = folder / "adapter_model.safetensors"
    _as_bfloat16(file)
    want = logits(write_gguf(tmp_path / "merged.gguf", merged=Lora()))
    got = logits(write_gguf(tmp_path / "plain.gguf"), convert(folder, base, tmp_path / "a.gguf"))
    assert np.abs(want - got).max() < 0.5
    assert np.corrcoef(want, got)[0, 1] > 0.99


def _as_bfloat16(file: Path) -> None:
    raw = file.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header, body, out, at = json.loads(raw[8 : 8 + size]), raw[8 + size :], b"", 0
    header.pop("__metadata__", None)
    for meta in header.values():
        begin, end = meta["data_offsets"]
        upper = (np.frombuffer(body[begin:end], np.uint32) >> 16).astype(np.uint16).tobytes()
        meta.update(dtype="BF16", data_offsets=[at, at + len(upper)])
        out, at = out + upper, at + len(upper)
    head = json.dumps(header).encode()
    file.write_bytes(len(head).to_bytes(8, "little") + head + out)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"peft_type": "IA3"}, "IA3"),
    ],
)
def test_what_gguf_cannot_express_is_refused_by_name(tmp_path: Path, base: Path, options: dict, named: str) -> None:
    folder = write_adapter(tmp_path / "adapter", Lora(options=options))
    with pytest.raises(Unsupported, match=named):
        convert(folder, base, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out*")), "nothing half-written may stay"


def test_unknown_architecture_and_unknown_module_are_refused(tmp_path: Path, base: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", Lora())
    (base / "config.json").write_text(json.dumps({"architectures": ["BloomForCausalLM"]}))
    with pytest.raises(Unsupported, match="BloomForCausalLM"):
        convert(folder, base, tmp_path / "out.gguf")
    write_config(base)
    file = folder / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.odd.thing": np.zeros(2, np.float32)}, file)
    with pytest.raises(Unsupported, match=r"odd\.thing"):
        convert(folder, base, tmp_path / "out.gguf")


def test_missing_and_broken_files_are_named(tmp_path: Path, base: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", Lora())
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for broken in (whole[:-100], b"\x00" * 4, b"\xff" * 200):
        weights.write_bytes(broken)
        with pytest.raises(BadInput, match=r"broken|cut off"):
            convert(folder, base, tmp_path / "out.gguf")
    weights.unlink()
    with pytest.raises(BadInput, match="weights are missing"):
        convert(folder, base, tmp_path / "out.gguf")
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(BadInput, match=r"adapter_config\.json"):
        convert(folder, base, tmp_path / "out.gguf")
