"""A file whose matrices do not fit the blocks of its quant says what is really in it: planned, and as made."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.export import quant_mix
from engine.gguf.metadata import FileMetadata
from engine.gguf.model import quantise, write_gguf
from engine.models.refs import Resolved

SIZES = {
    "fits": {"hidden_size": 256, "intermediate_size": 512},
    "no multiple of 256": {"hidden_size": 192, "intermediate_size": 320},
    "no multiple of 32": {"hidden_size": 80, "intermediate_size": 144},
    "half of it": {"hidden_size": 192, "intermediate_size": 2048},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.tiny import make_tokenizer

    made = {}
    for name, sizes in SIZES.items():
        made[name] = folder = tmp_path_factory.mktemp("sizes")
        rows = make_tokenizer(folder)
        shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        config = LlamaConfig(**sizes, **shape, vocab_size=rows, tie_word_embeddings=name == "half of it")
        LlamaForCausalLM(config).save_pretrained(folder)
    return made


@pytest.mark.parametrize("quant", ["q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"])
@pytest.mark.parametrize("name", SIZES)
def test_what_is_planned_is_what_is_made(models: dict[str, Path], tmp_path: Path, name: str, quant: str) -> None:
    base = models[name]
    source = write_gguf(base, None, tmp_path / "f16.gguf", "f16", FileMetadata("x"))
    if quant == "q8_0":
        out = write_gguf(base, None, tmp_path / "out.gguf", quant, FileMetadata("x"))
    else:
        out = quantise(source, tmp_path / "out.gguf", quant, threads=1)
    made = quant_mix.in_file(out)
    assert sum(made.values()) <= out.stat().st_size
    for model in (Resolved("x", "hf", "x", folder=base), Resolved("x", "gguf", "x", gguf=source)):
        planned = quant_mix.expected(model, quant)
        assert next(iter(planned)) == next(iter(made)), (planned, made)
        assert abs(sum(planned.values()) - sum(made.values())) < 0.1 * sum(made.values())
    assert bool(quant_mix.mostly(planned, quant)) == bool(quant_mix.mostly(made, quant)), (planned, made)
    if name == "fits":
        assert quant_mix.mostly(made, quant) == ""
    if name == "no multiple of 32":
        assert quant_mix.mostly(made, quant) == "mostly F16"
    if name == "no multiple of 256" and quant == "q4_k_m":
        assert "Q5_0" in quant_mix.mostly(made, quant)


def test_only_what_surprises_is_said() -> None:
    assert quant_mix.mostly({"Q4_K": 60, "Q6_K": 30, "F32": 10}, "q4_k_m") == ""
    assert quant_mix.mostly({"Q5_0": 60, "Q4_K": 40}, "q4_k_m") == "mostly Q5_0"
    assert quant_mix.mostly({"Q5_0": 45, "Q8_0": 35, "Q4_K": 20}, "q4_k_m") == "45% Q5_0, 35% Q8_0"
    assert quant_mix.mostly({"Q4_K": 40, "Q5_0": 35, "Q8_0": 25}, "q4_k_m") == "35% Q5_0, 40% Q4_K"
    assert quant_mix.mostly({}, "q4_k_m") == "" and quant_mix.mostly({"F16": 9}, None) == ""
    assert quant_mix.expected(Resolved("x", "hf", "x"), "q4_k_m") == {}
