"""4-bit training on bases that are quantised already, and what an adapter of a 4-bit run is used on afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from engine.gguf.metadata import FileMetadata
from engine.gguf.model import DIRECT, quantise, write_gguf
from engine.models import gguf_source, inspection, pinning, trained_weights
from engine.models.chat_template import ChatTemplate
from engine.models.default_model import COMPLETE
from engine.models.refs import Resolved
from engine.training import model_check
from engine.training.methods import METHODS
from engine.training.model_facts import gguf_facts, model_facts
from engine.training.worker import adapter_files, convert_gguf, four_bit, loading, model_cache
from store.home import Home
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def as_gguf(base: Path, quant: str, folder: Path) -> Path:
    """The tiny model as a GGUF file of that type."""
    direct = quant if quant in DIRECT else "f16"
    file = write_gguf(base, None, folder / f"tiny-{direct}.gguf", direct, FileMetadata("tiny"))
    return file if direct == quant else quantise(file, folder / f"tiny-{quant}.gguf", quant)


@pytest.mark.parametrize("quant", ["q8_0", "q4_0", "q4_k_m", "f16", "bf16"])
def test_four_bit_training_uses_the_blocks_of_a_quantised_file(quant: str, base: Path, tmp_path: Path) -> None:
    folder = convert_gguf.prepare(as_gguf(base, quant, tmp_path), tmp_path / "prepared", lambda text: None)
    quantised = quant not in ("f16", "bf16")
    assert bool(gguf_source.own_blocks(folder)) == quantised
    losses, notes = {}, {}
    for method in ("lora", "qlora"):
        _, seen = train(config(method=method, steps=1), rows(8), folder, tmp_path / method)
        losses[method], notes[method] = seen.numbers["loss"][1], " ".join(text for _, text in seen.said)
    assert (losses["lora"] == losses["qlora"]) == quantised
    assert ("quantised already" in notes["qlora"]) == quantised and "quantised already" not in notes["lora"]
    facts = model_facts(folder)
    lora, qlora = (METHODS[name].memory(config(), facts, "cuda", 1e12) for name in ("lora", "qlora"))
    assert (lora == qlora) == quantised


def four_bit_checkpoint(base: Path, folder: Path) -> Path:
    """The tiny model as bitsandbytes saves it in 4 bits."""
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    AutoModelForCausalLM.from_pretrained(base, quantization_config=settings, dtype=torch.float32).save_pretrained(
        folder
    )
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((base / name).read_bytes())
    return folder


def logits(folder: Path, adapter: Path) -> Tensor:
    """What chat and exports compute: a plain folder with the adapter, in float32."""
    model = loading.load_whole(folder, dtype=torch.float32)
    with torch.inference_mode():
        return PeftModel.from_pretrained(model, adapter).eval()(IDS).logits


def trained_logits(source: Path, adapter: Path) -> Tensor:
    """What the run computed at its end: its adapter on the 4-bit layers, in float32."""
    loaded = loading.load(config(method="qlora", dtype="fp32"), source, "cpu")
    adapter_files.read(loaded.model, adapter)
    for parameter in loaded.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # the products with a bfloat16 adapter are rounded
    with torch.inference_mode():
        return loaded.model.eval()(IDS).logits


IDS = torch.tensor([[5, 80, 33, 120, 7, 61, 200, 14]])


@pytest.mark.parametrize("kind", ["plain", "sharded", "bitsandbytes", "dora"])
def test_the_kept_weights_are_those_of_the_run(kind: str, base: Path, tmp_path: Path) -> None:
    source = base
    if kind == "bitsandbytes":
        source = four_bit_checkpoint(base, tmp_path / "bnb")
    if kind == "sharded":
        source = tmp_path / "sharded"
        AutoModelForCausalLM.from_pretrained(base).save_pretrained(source, max_shard_size="100KB")
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (source / name).write_bytes((base / name).read_bytes())
        assert len(list(source.glob("*.safetensors"))) > 1
    settings = config(method="qlora", dtype="fp32", steps=30, lr=0.02, dora=kind == "dora")
    outcome, seen = train(settings, rows(8, val=2), source, tmp_path / "run")
    kept = json.loads((tmp_path / "run" / trained_weights.FILE).read_text())
    assert kept["used"] == "nf4" and not inspection.is_quantised(Path(kept["folder"]))
    inspection.inspect(Path(kept["folder"]), method="lora").require()
    assert kept["files"] == pinning.fingerprint(Path(kept["folder"]))
    mine = logits(Path(kept["folder"]), outcome.adapter)
    if kind != "dora":
        assert torch.allclose(mine, trained_logits(source, outcome.adapter), atol=1e-4, rtol=1e-4)
    text = next(text for _, text in seen.said if "4-bit weights" in text and "adapter" in text)
    if kind in ("plain", "sharded"):
        assert kept["loss"]["nf4"] < kept["loss"]["original"] and kept["kl"] > four_bit.SAME_KL
        assert f"{kept['loss']['nf4']:.4f}" in text and trained_weights.NF4 in text
        assert not torch.allclose(mine, logits(source, outcome.adapter), atol=2e-2)


def test_original_weights_are_taken_when_the_adapter_is_as_good_on_them(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(four_bit, "SAME_KL", 100.0)
    train(config(method="qlora", steps=2), rows(8), base, tmp_path / "run")
    kept = json.loads((tmp_path / "run" / trained_weights.FILE).read_text())
    assert kept["used"] == "original" and "folder" not in kept and kept["tokens"] > 0
    assert not list((tmp_path / "run").glob("nf4-*"))


def test_the_measured_losses_are_the_models_own(base: Path, tmp_path: Path) -> None:
    """Each side by a plain forward pass over every row, without packing or replaced layers."""
    outcome, seen = train(config(method="qlora", dtype="fp32", steps=3), rows(6, val=3), base, tmp_path / "run")
    kept = json.loads((tmp_path / "run" / trained_weights.FILE).read_text())
    assert kept["rows"] == 3 and kept["loss"]["nf4"] == pytest.approx(seen.numbers["val_loss"][3], rel=1e-4)
    template = ChatTemplate.load(base)
    plain = PeftModel.from_pretrained(loading.load_whole(base, dtype=torch.float32), outcome.adapter).eval()
    total, count = 0.0, 0
    for row in (row for row in rows(6, val=3) if row.split == "val"):
        example = template.example(row.messages, 1024)
        with torch.inference_mode():
            out = plain(torch.tensor([example.ids])).logits[0, :-1]
        labels = torch.tensor(example.labels[1:])
        total += float(torch.nn.functional.cross_entropy(out, labels, reduction="sum"))
        count += int((labels != -100).sum())
    assert kept["tokens"] == count and kept["loss"]["original"] == pytest.approx(total / count, rel=1e-3)


def test_a_full_disk_does_not_fail_the_run(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bit.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    outcome, seen = train(config(method="qlora", steps=30, lr=0.02), rows(8), base, tmp_path / "run")
    assert outcome.state == "succeeded" and not (tmp_path / "run" / trained_weights.FILE).exists()
    assert any(level == "warning" and "on the base as it is" in text for level, text in seen.said)
    assert not list((tmp_path / "run").glob("nf4-*"))


@pytest.mark.parametrize("quant", ["f16", "q8_0", "q4_0"])
def test_the_header_says_before_preparing_what_the_folder_says_afterwards(
    quant: str, base: Path, tmp_path: Path, home: Home
) -> None:
    file = as_gguf(base, quant, tmp_path)
    early = gguf_facts(file)
    folder = model_cache.folder(home, str(file), lambda text: None)
    late = model_facts(folder)
    norms = early.weights - late.weights
    assert (early.linear_weights, early.own_blocks) == (late.linear_weights + norms, late.own_blocks)
    assert early.layers == late.layers and early.hidden == late.hidden and early.vocabulary == late.vocabulary
    assert 0 <= norms < 1000, "norms are counted in the file only"

    (folder / gguf_source.FILE).unlink()  # as an earlier version left it
    manifest = json.loads((folder / COMPLETE).read_text("utf-8"))
    (folder / COMPLETE).write_text(json.dumps({k: v for k, v in manifest.items() if k != gguf_source.FILE}))
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert model_cache.folder(home, str(file), lambda text: None) == folder
    assert model_facts(folder) == late and (folder / "model.safetensors").stat().st_mtime_ns == stamp


def test_the_default_method_is_recorded_as_what_it_stands_for(base: Path, tmp_path: Path, home: Home) -> None:
    plain = Resolved(str(base), "folder", "tiny", folder=base)
    four_bits = four_bit_checkpoint(base, tmp_path / "bnb")
    stored = Resolved(str(four_bits), "folder", "tiny", folder=four_bits)
    file = write_gguf(base, None, tmp_path / "tiny.gguf", "q8_0", FileMetadata("tiny"))
    for model, method, words in (
        (plain, "lora", "in 32 bits the run takes"),
        (stored, "qlora", "stored in 4 bits already"),
        (Resolved(str(file), "gguf", "tiny", gguf=file), "lora", "quantised already (Q8_0)"),
    ):
        found, why = model_check.with_method(config(method="auto"), model)
        assert found.method == method and words in why
        model_check.check_model(model, found)
        assert model_check.with_method(config(method="qlora"), model) == (config(method="qlora"), "")
