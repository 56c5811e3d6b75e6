"""Damaged and odd model folders: each is refused, with the names of what is wrong, before anything is loaded.
The folders are made here from a few random tensors; that transformers agrees is tested in tests/torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from engine.models import inspection
from engine.models.inspection import inspect
from engine.models.pinning import changes, fingerprint
from engine.models.weight_files import INDEX
from store.errors import BadInput, Unsupported
from tests.tiny import make_tokenizer

LAYERS = 3
HIDDEN = 16
FIRST, SECOND = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
Change = Callable[[Path], object]


def model(folder: Path, **config: Any) -> Path:
    """A Llama folder without a forward pass: the right names, small shapes."""
    size = make_tokenizer(folder)
    settings = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": LAYERS,
        "vocab_size": size, "hidden_size": HIDDEN, "tie_word_embeddings": False,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings | config))
    save_file(tensors(size), folder / "model.safetensors")
    return folder


def tensors(size: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    made = {"model.embed_tokens.weight": draw.standard_normal((size, HIDDEN), np.float32)}
    for n in range(LAYERS):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            made[f"model.layers.{n}.self_attn.{name}.weight"] = draw.standard_normal((HIDDEN, HIDDEN), np.float32)
        made[f"model.layers.{n}.input_layernorm.weight"] = np.ones(HIDDEN, np.float32)
    made["model.norm.weight"] = np.ones(HIDDEN, np.float32)
    made["lm_head.weight"] = draw.standard_normal((size, HIDDEN), np.float32)
    return made


def rewrite(folder: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file)


def without(*parts: str) -> Change:
    return lambda folder: rewrite(folder, lambda t: {n: v for n, v in t.items() if not any(p in n for p in parts)})


def prefixed(prefix: str) -> Change:
    return lambda folder: rewrite(folder, lambda t: {prefix + n: v for n, v in t.items()})


def configured(**settings: Any) -> Change:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))

    return change


def quantised(**settings: Any) -> Change:
    return configured(quantization_config=settings)


def renamed(old: str, new: str) -> Change:
    return lambda folder: rewrite(folder, lambda t: {n.replace(old, new, 1): v for n, v in t.items()})


def sharded(folder: Path, lose: str = "", index: bool = True) -> None:
    """Split the weights into two files with an index; `lose` deletes one."""
    every = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [FIRST, SECOND]
    halves = dict(list(every.items())[: len(every) // 2]), dict(list(every.items())[len(every) // 2 :])
    for name, half in zip(names, halves, strict=True):
        save_file(half, folder / name)
    if index:
        weight_map = {tensor: name for name, half in zip(names, halves, strict=True) for tensor in half}
        (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    if lose:
        (folder / lose).unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def header_without_end(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(struct.pack("<Q", 1 << 40) + data[8:])


def index_names_too_much(folder: Path) -> None:
    sharded(folder)
    file = folder / INDEX
    index = json.loads(file.read_text())
    index["weight_map"]["model.layers.0.mlp.up_proj.weight"] = "model-00001-of-00002.safetensors"
    file.write_text(json.dumps(index))


def foreign_tokenizer(folder: Path) -> None:
    file = folder / "tokenizer.json"
    raw = json.loads(file.read_text())
    raw["added_tokens"].append(raw["added_tokens"][0] | {"id": 90_000, "content": "<extra>"})
    file.write_text(json.dumps(raw))


ERRORS: dict[str, tuple[Change, str]] = {
    "a layer less": (without("layers.2."), "model.layers.2"),
    "the first layer missing": (without("layers.0."), "model.layers.0"),
    "config promises more": (configured(num_hidden_layers=5), "model.layers.3"),
    "config knows fewer": (configured(num_hidden_layers=2), "would be ignored"),
    "one tensor missing": (without("layers.1.self_attn.k_proj"), "model.layers.1.self_attn.k_proj.weight"),
    "no embedding": (without("embed_tokens"), "no token embedding"),
    "no output": (without("lm_head"), "output matrix"),
    "compiled": (prefixed("_orig_mod."), "'_orig_mod.'"),
    "parallel": (prefixed("module."), "'module.'"),
    "wrapped inside": (renamed("model.", "model._orig_mod."), "'_orig_mod.'"),
    "first shard lost": (lambda f: sharded(f, FIRST), FIRST),
    "second shard lost": (lambda f: sharded(f, SECOND), SECOND),
    "shard and index lost": (lambda f: sharded(f, FIRST, index=False), "Only 1 of the 2 files"),
    "index names too much": (index_names_too_much, "model.layers.0.mlp.up_proj.weight"),
    "cut off": (cut_off, "100 bytes are missing"),
    "header damaged": (header_without_end, "cut off or damaged"),
    "empty file": (lambda f: (f / "model.safetensors").write_bytes(b""), "damaged"),
    "pickled": (pickled, "pickled"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "config broken": (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    "vocabulary too small": (configured(vocab_size=100), "vocab_size 100"),
    "tokenizer of another model": (foreign_tokenizer, "'<extra>' with id 90,000"),
    "gptq": (quantised(quant_method="gptq", bits=4), "gptq, 4 bits"),
    "awq": (quantised(quant_method="awq", bits=4), "awq"),
    "compressed-tensors": (quantised(quant_method="compressed-tensors"), "compressed-tensors"),
    "fp8": (quantised(quant_method="fp8"), "fp8"),
    "mxfp4": (quantised(quant_method="mxfp4"), "mxfp4"),
    "bitsandbytes 8": (quantised(quant_method="bitsandbytes", load_in_8bit=True), "8 bits"),
    "bitsandbytes 4, lora": (quantised(quant_method="bitsandbytes", load_in_4bit=True), "--method qlora"),
    "custom code": (configured(model_type="internlm9", auto_map={"AutoModel": "x.X"}), "foreign code is not run"),
    "unknown type": (configured(model_type="nosuchmodel"), "does not know the model type"),
    "no type": (configured(model_type=None), "no model_type"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_what_would_be_random_or_ignored_is_refused_by_name(name: str, tmp_path: Path) -> None:
    change, words = ERRORS[name]
    folder = model(tmp_path / "m")
    change(folder)
    found = inspect(folder, method="lora")
    assert found.errors, "nothing was found"
    assert words in " ".join(issue.what + issue.todo for issue in found.errors)
    with pytest.raises((Unsupported, BadInput)):
        found.require()


GOOD: dict[str, Change] = {
    "as made": lambda f: None,
    "two shards": sharded,
    "two shards without an index": lambda f: sharded(f, index=False),
    "tied": lambda f: (without("lm_head")(f), configured(tie_word_embeddings=True)(f)),
    "tied by default": lambda f: (without("lm_head")(f), configured(tie_word_embeddings=None)(f)),
    "multi-part names": prefixed("language_model."),
    "hybrid layers": renamed("layers.1.self_attn", "layers.1.ssm"),
    "text config inside": lambda f: configured(num_hidden_layers=None, text_config={"num_hidden_layers": LAYERS})(f),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_whole_folders_pass(name: str, tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    GOOD[name](folder)
    assert inspect(folder, method="lora").errors == []
    assert len(inspect(folder).tensors) >= LAYERS * 5 + 2


def test_a_four_bit_checkpoint_is_for_qlora(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    found = inspect(folder, method="qlora")
    assert not found.errors and (found.quantised, found.quantised_bits) == ("bitsandbytes", 4)


def test_a_leftover_adapter_is_named_and_ignored(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "adapter_config.json").write_text("{}")
    save_file({"x": np.zeros(1, np.float32)}, folder / "adapter_model.safetensors")
    found = inspect(folder, method="lora")
    assert not found.errors and "adapter is ignored" in found.issues[0].what
    assert "x" not in found.tensors


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["q_proj", "nonsense"], "called nonsense"),
        (["qproj"], "It has: k_proj, o_proj, q_proj, v_proj"),
        (["lm_head"], "output matrix"),
        (["vision_tower.proj"], "called vision_tower.proj"),
    ],
)
def test_targets_that_cannot_be_adapted_are_refused(targets: list[str], words: str, tmp_path: Path) -> None:
    found = inspect(model(tmp_path / "m"), method="lora", targets=targets)
    assert words in found.errors[0].what + found.errors[0].todo
    assert not inspect(tmp_path / "m", method="lora", targets=["q_proj", "self_attn.v_proj"]).errors


def test_a_target_in_the_vision_tower_alone_is_refused(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", vision_config={"hidden_size": 8})
    rewrite(folder, lambda t: t | {"vision_tower.encoder.layers.0.fc1.weight": np.zeros((4, 4), np.float32)})
    found = inspect(folder, method="lora", targets=["fc1"])
    assert "images or sound" in found.errors[0].what
    assert found.vision and not inspect(folder, method="lora").errors


def test_experts_are_seen(tmp_path: Path) -> None:
    assert inspect(model(tmp_path / "m", num_experts=8)).experts
    assert not inspect(model(tmp_path / "n", num_experts=1)).experts


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"missing_keys": {"a.weight", "b.weight"}}, "2 tensors of the model are not in the files"),
        ({"missing_keys": [f"l.{n}" for n in range(9)]}, "and 6 more"),
        ({"mismatched_keys": [("a.weight", (2, 2), (3, 3))]}, "another shape"),
        ({"unexpected_keys": ["z.weight"]}, "no place for them: z.weight"),
    ],
)
def test_a_load_that_is_not_complete_is_refused(info: dict[str, Any], words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        inspection.require_complete(info, Path("m"))
    inspection.require_complete({"missing_keys": set(), "unexpected_keys": {"rotary.inv_freq"}}, Path("m"))


class TestFingerprint:
    def test_same_files_same_fingerprint_wherever_they_lie(self, tmp_path: Path) -> None:
        assert fingerprint(model(tmp_path / "a")) == fingerprint(model(tmp_path / "b"))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (configured(rope_theta=1.0), "config.json changed"),
            (lambda f: (f / "chat_template.jinja").write_text("x"), "chat_template.jinja changed"),
            (lambda f: (f / "chat_template.jinja").unlink(), "chat_template.jinja is gone"),
            (foreign_tokenizer, "tokenizer.json changed"),
            (lambda f: rewrite(f, lambda t: {n: v * 2 for n, v in t.items()}), "model.safetensors changed"),
            (sharded, "model.safetensors is gone"),
        ],
    )
    def test_what_changed_is_named(self, change: Change, words: str, tmp_path: Path) -> None:
        folder = model(tmp_path / "m")
        before = fingerprint(folder)
        change(folder)
        assert words in changes(before, fingerprint(folder))

    def test_a_large_file_is_sampled_and_a_change_inside_a_sample_is_seen(self, tmp_path: Path) -> None:
        file = tmp_path / "m.gguf"
        file.write_bytes(b"GGUF" + bytes(8 << 20))
        before = fingerprint(file)
        with file.open("r+b") as data:
            data.seek(-1, 2)
            data.write(b"x")
        assert changes(before, fingerprint(file)) == ["m.gguf changed"]
