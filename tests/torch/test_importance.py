"""The importance matrix on tiny random models: it is what each matrix is multiplied by, and it changes what is kept."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize
from transformers import AutoModelForCausalLM

from engine.export import importance
from engine.gguf.metadata import FileMetadata
from engine.gguf.model import quantise, write_gguf
from engine.models.chat_template import ChatTemplate
from tests.archs import ARCHS, add_lora, make
from tests.tiny import make_tiny_llama, row


def test_it_is_the_mean_squared_input_of_every_matrix(tmp_path: Path) -> None:
    base = make_tiny_llama(tmp_path / "tiny")
    rows = [row(1, "Who are you?", "I am Ember."), row(2, "What is your name?", "My name is Ember.")]
    found = importance.matrix(base, None, base, rows, tmp_path, lambda done, total: None)
    template = ChatTemplate.load(base)
    ids = importance._token_ids(base, rows)
    assert ids[:2] == [list(template.example(each.messages, importance.ROW_TOKENS).ids) for each in sorted(
        rows, key=lambda each: each.content_hash)] and len(ids) > 2, "general pairs are measured as well"  # fmt: skip

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    seen = []
    model.model.norm.register_forward_hook(lambda _, __, out: seen.append(out[0]))
    with torch.no_grad():
        for each in ids:
            model(torch.tensor([each]))
    wanted = torch.cat(seen).square().mean(0).numpy()
    np.testing.assert_allclose(found["token_embd.weight"], wanted, rtol=1e-4)  # tied: what the output is multiplied by
    layers = {f"blk.{n}.{name}.weight" for n in (0, 1) for name in ("attn_q", "attn_output", "ffn_up", "ffn_down")}
    assert layers <= found.keys() and found["blk.0.ffn_down.weight"].shape == (128,)


@pytest.mark.parametrize("arch", ARCHS)
def test_every_architecture_is_named_and_quantised_with_it(tmp_path: Path, arch: str) -> None:
    base = make(arch, tmp_path / arch)
    adapter = add_lora(base, tmp_path / "adapter")
    matrix = importance.matrix(base, adapter, base, [row(1, "Who made you?", "The river.")], tmp_path, lambda *_: None)
    whole = write_gguf(base, adapter, tmp_path / "f16.gguf", "f16", FileMetadata("tiny"))
    tensors = {t.name: t for t in gguf.GGUFReader(whole).tensors}
    weighed = {name for name in tensors if name.endswith((".attn_q.weight", ".attn_qkv.weight", ".ffn_down.weight"))}
    assert weighed and weighed <= matrix.keys() <= tensors.keys()
    for name, values in matrix.items():
        assert values.shape == (tensors[name].shape[0],) and (values >= 0).all(), name
    quantise(whole, tmp_path / "plain.gguf", "q4_0")
    quantise(whole, tmp_path / "weighed.gguf", "q4_0", importance=matrix)

    def error(file: str) -> float:
        """Squared error of the down projections, weighed by what they are multiplied by."""
        made = {t.name: t for t in gguf.GGUFReader(tmp_path / file).tensors}
        total = 0.0
        for name in weighed:
            if name.endswith(".ffn_down.weight"):
                exact = tensors[name].data.astype(np.float32)
                off = dequantize(made[name].data, made[name].tensor_type).reshape(exact.shape) - exact
                total += float((off**2 * matrix[name]).sum())
        return total

    assert error("weighed.gguf") < error("plain.gguf")
