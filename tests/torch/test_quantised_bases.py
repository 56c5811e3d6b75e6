"""4-bit training on bases that are quantised already, and what an adapter of a 4-bit run is used on afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.gguf.metadata import FileMetadata
from engine.gguf.model import DIRECT, quantise, write_gguf
from engine.models import gguf_source
from engine.training.model_facts import model_facts
from engine.training.methods import METHODS
from engine.training.worker import convert_gguf, loading
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def prepared(base: Path, quant: str, folder: Path) -> Path:
    """The tiny model as a GGUF file of that type, prepared for training."""
    direct = quant if quant in DIRECT else "f16"
    file = write_gguf(base, None, folder / f"tiny-{direct}.gguf", direct, FileMetadata("tiny"))
    file = file if direct == quant else quantise(file, folder / f"tiny-{quant}.gguf", quant)
    return convert_gguf.prepare(file, folder / "prepared", lambda text: None)


@pytest.mark.parametrize("quant", ["q8_0", "q4_0", "q4_k_m", "f16", "bf16"])
def test_four_bit_training_uses_the_blocks_of_a_quantised_file(quant: str, base: Path, tmp_path: Path) -> None:
    folder = prepared(base, quant, tmp_path)
    quantised = quant not in ("f16", "bf16")
    assert bool(gguf_source.own_blocks(folder)) == quantised
    losses, notes = {}, {}
    for method in ("lora", "qlora"):
        _, seen = train(config(method=method, steps=1), rows(8), folder, tmp_path / method)
        losses[method], notes[method] = seen.numbers["loss"][1], " ".join(text for _, text in seen.said)
    assert (losses["lora"] == losses["qlora"]) == quantised
    assert ("quantised already" in notes["qlora"]) == quantised and "quantised already" not in notes["lora"]
    facts = model_facts(folder)
    lora, qlora = (METHODS[name].memory(config(), facts, "cuda") for name in ("lora", "qlora"))
    assert (lora == qlora) == quantised
