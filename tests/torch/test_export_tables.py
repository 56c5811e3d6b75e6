"""Adapters on the embedding and the output, in models with one table for both and with two: what is merged and written
as GGUF computes what PEFT does. And the real reason where an adapter does not fit a base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from engine.export.merged import write_merged
from engine.gguf.adapter import convert
from engine.gguf.metadata import FileMetadata
from engine.gguf.model import write_gguf
from engine.gguf.tensors import MergedWeights
from engine.training.worker import merge
from store.errors import BadInput, Unsupported
from tests.archs import add_lora, make
from tests.engine.test_export_gguf import answered, ids_of, reference

TARGETS = (["embed_tokens", "q_proj"], ["lm_head"], ["embed_tokens", "lm_head", "up_proj"])
OWN, SHARED = "tinyllama", "smollm"
"""Bases with a table of their own for embedding and output, and with one for both."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    for name in (OWN, SHARED):
        make(name, root / name)
    return root


def adapted(base: Path, out: Path, targets: list[str], **options: object) -> Path:
    """An adapter whose every factor differs from zero, also the embedding's."""
    add_lora(base, out, target_modules=targets, **options)
    file, rng = out / "adapter_model.safetensors", np.random.default_rng(0)
    tensors = {
        name: values if "base_layer" in name else rng.normal(0, 0.2, values.shape).astype(np.float32)
        for name, values in load_file(file).items()
        if not name.endswith("base_layer.weight")
    }
    save_file(tensors, file)
    return out


@pytest.mark.parametrize("targets", TARGETS, ids="+".join)
@pytest.mark.parametrize("name", [OWN, SHARED])
def test_embedding_and_output_are_merged_as_peft_computes_them(
    models: Path, tmp_path: Path, name: str, targets: list[str]
) -> None:
    base, ids = models / name, ids_of(models / name)
    adapter = adapted(base, tmp_path / "adapter", targets)
    wanted = reference(base, adapter, ids)
    assert np.abs(wanted - reference(base, None, ids)).max() > 0.1
    folder = tmp_path / "merged"
    folder.mkdir()
    write_merged(base, adapter, base, folder)
    assert np.abs(wanted - reference(folder, None, ids)).max() < 1e-3
    file = write_gguf(base, adapter, tmp_path / "merged.gguf", "f32", FileMetadata("merged"))
    assert np.abs(wanted - answered(file, ids)[:, : wanted.shape[1]]).max() < 2e-2
    if name == SHARED:
        assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is False
        with pytest.raises(Unsupported, match="embedding and output at once") as caught:
            convert(adapter, base, tmp_path / "adapter.gguf")
        assert "merged" in str(caught.value.todo)
        return
    plain = write_gguf(base, None, tmp_path / "plain.gguf", "f32", FileMetadata("plain"))
    small = convert(adapter, base, tmp_path / "adapter.gguf")
    assert np.abs(wanted - answered(plain, ids, small)[:, : wanted.shape[1]]).max() < 2e-2


@pytest.mark.parametrize("targets", TARGETS, ids="+".join)
def test_merged_tables_equal_pefts_own_merge(models: Path, tmp_path: Path, targets: list[str]) -> None:
    base = models / OWN
    adapter = adapted(base, tmp_path / "adapter", targets, use_rslora=True)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    ours = MergedWeights(base, adapter)
    assert ours.tensors.keys() == theirs.keys()
    for name, values in theirs.items():
        assert np.allclose(ours(name), values.numpy(), atol=1e-6), name
    ours.check_consumed()


def test_what_peft_merges_leaves_a_shared_table_alone(models: Path, tmp_path: Path) -> None:
    base, ids = models / SHARED, ids_of(models / SHARED)
    adapter = adapted(base, tmp_path / "adapter", ["embed_tokens", "q_proj"], modules_to_save=["norm"])
    out = tmp_path / "merged"
    out.mkdir()
    assert merge.main(base, adapter, out) == 0
    assert np.abs(reference(base, adapter, ids) - reference(out, None, ids)).max() < 1e-3


# -- why an adapter does not fit ---------------------------------------------------------------------------------------


def changed(base: Path, out: Path, change: object) -> Path:
    """A copy of a base with its tensors changed."""
    out.mkdir()
    tensors = load_file(base / "model.safetensors")
    save_file(change(tensors), out / "model.safetensors")  # type: ignore[operator]
    (out / "config.json").write_text((base / "config.json").read_text())
    return out


def gptq(tensors: dict) -> dict:
    return {
        (name.replace("_proj.weight", "_proj.qweight")): np.zeros((8, 64), np.int32) if "_proj" in name else values
        for name, values in tensors.items()
    }


def bitsandbytes(tensors: dict) -> dict:
    return {
        name: np.zeros((values.size // 2, 1), np.uint8) if "_proj" in name else values
        for name, values in tensors.items()
    } | {f"{name}.quant_state.bitsandbytes__nf4": np.zeros(8, np.uint8) for name in tensors if "_proj" in name}


def compressed(tensors: dict) -> dict:
    return {name.replace("_proj.weight", "_proj.weight_packed"): values for name, values in tensors.items()}


def transposed(tensors: dict) -> dict:
    return {name: values.T.copy() if "up_proj" in name else values for name, values in tensors.items()}


CAUSES = {
    "gptq": (gptq, Unsupported, "packed .GPTQ or AWQ"),
    "bitsandbytes": (bitsandbytes, Unsupported, "packed .bitsandbytes"),
    "compressed-tensors": (compressed, Unsupported, "packed .compressed-tensors"),
    "_orig_mod": (lambda t: {f"_orig_mod.{k}": v for k, v in t.items()}, Unsupported, "_orig_mod.*name|otherwise"),
    "language_model": (
        lambda t: {k.replace("model.", "model.language_model."): v for k, v in t.items()}, Unsupported, "otherwise",
    ),
    "no prefix": (lambda t: {k.removeprefix("model."): v for k, v in t.items()}, Unsupported, "otherwise"),
    "transposed": (transposed, Unsupported, "transposed"),
    "wider": (lambda t: {k: np.repeat(v, 2, -1) for k, v in t.items()}, BadInput, "another base"),
    "fewer layers": (lambda t: {k: v for k, v in t.items() if ".1." not in k}, BadInput, "no module"),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES)
def test_the_real_cause_is_named(models: Path, tmp_path: Path, name: str) -> None:
    change, kind, what = CAUSES[name]
    adapter = add_lora(models / OWN, tmp_path / "adapter")
    with pytest.raises(kind, match=what) as caught:
        MergedWeights(changed(models / OWN, tmp_path / "base", change), adapter)
    assert caught.value.todo
    if kind is Unsupported:
        assert "another base" not in str(caught.value)


def test_another_vocabulary_is_named(models: Path, tmp_path: Path) -> None:
    adapter = adapted(models / OWN, tmp_path / "adapter", ["embed_tokens"])
    longer = changed(models / OWN, tmp_path / "base", lambda t: {k: np.repeat(v, 2, 0) for k, v in t.items()})
    with pytest.raises(BadInput, match="vocabulary has another size"):
        MergedWeights(longer, adapter)
