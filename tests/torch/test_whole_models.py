"""Loading refuses what the files do not hold: the same damage that inspection names, given to transformers itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.models import inspection
from engine.training.worker import loading
from store.errors import TuningforkError, Unsupported
from tests import tiny

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make_tiny_llama(tmp_path / "tiny")


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def test_every_weight_of_a_good_folder_is_the_files(folder: Path) -> None:
    loaded = loading.load(tiny.config(), folder, "cpu").model.get_base_model().state_dict()
    for name, tensor in load_file(folder / "model.safetensors").items():
        own = next(value for key, value in loaded.items() if key.replace(".base_layer", "") == name)
        assert torch.equal(own, tensor.to(own.dtype))


DAMAGE: dict[str, Callable[[Tensors], Tensors]] = {
    "a missing tensor": lambda t: {n: v for n, v in t.items() if "layers.1.self_attn.q_proj" not in n},
    "a missing norm": lambda t: {n: v for n, v in t.items() if n != "model.norm.weight"},
    "compiled names": lambda t: {f"_orig_mod.{n}": v for n, v in t.items()},
    "another shape": lambda t: t | {"model.layers.0.mlp.up_proj.weight": torch.zeros(64, 64)},
    "a tensor too many": lambda t: t | {"model.layers.0.self_attn.extra.weight": torch.zeros(2, 2)},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_not_filled_in(name: str, folder: Path) -> None:
    rewrite(folder, DAMAGE[name])
    with pytest.raises(Unsupported):
        loading.load_whole(folder, dtype=torch.float32)
    with pytest.raises(TuningforkError):
        loading.load(tiny.config(), folder, "cpu")


def test_a_leftover_adapter_is_not_applied(folder: Path, tmp_path: Path) -> None:
    plain = loading.load_whole(folder, dtype=torch.float32).state_dict()
    foreign = {"peft_type": "LORA", "base_model_name_or_path": "somebody/else", "r": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(foreign))
    again = loading.load_whole(folder, dtype=torch.float32).state_dict()
    assert plain.keys() == again.keys() and all(torch.equal(plain[name], again[name]) for name in plain)
    assert (folder / "adapter_config.json").is_file()
    assert "ignored" in inspection.inspect(folder, method="lora").issues[0].what


def test_a_four_bit_checkpoint_is_trained_on_its_own_blocks(folder: Path, tmp_path: Path) -> None:
    import bitsandbytes as bnb
    from bitsandbytes.functional import dequantize_4bit
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    quantised = AutoModelForCausalLM.from_pretrained(folder, quantization_config=settings, dtype=torch.float32)
    out = tmp_path / "nf4"
    quantised.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (out / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(Unsupported, match="--method qlora"):
        loading.load(tiny.config(), out, "cpu")
    loaded = loading.load(tiny.config(method="qlora"), out, "cpu").model.get_base_model()
    checked = 0
    for name, module in quantised.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            own = loaded.get_submodule(name).base_layer.weight
            one, other = (dequantize_4bit(w.data, w.quant_state) for w in (module.weight, own))
            assert torch.equal(one, other)
            checked += 1
    assert checked == 14
