"""A run at another strength: every reader of adapters sees the delta times that number, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from engine.gguf.tensors import MergedWeights
from engine.models import strength
from engine.models.refs import Ref, parse, parse_run
from store.errors import BadInput, Unsupported
from store.home import Home
from tests.tiny import make_tiny_llama
from tests.torch.test_export_make import lora

NAME = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_tiny_llama(tmp_path / "tiny")


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 24}}])
def test_the_delta_is_multiplied_for_merging_and_for_peft(
    home: Home, base: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    adapter = lora(tmp_path / "adapter", base, np.random.default_rng(0), **options)
    plain, full = MergedWeights(base, None)(NAME), MergedWeights(base, adapter)(NAME)
    for share in (0.0, 0.5, 1.5):
        made = MergedWeights(base, strength.scaled(home, adapter, share))(NAME)
        np.testing.assert_allclose(made - plain, share * (full - plain), atol=1e-5)
    ids = torch.tensor([[5, 6, 7, 8]])
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    with torch.no_grad():
        wanted = model(ids).logits
        none = PeftModel.from_pretrained(model, strength.scaled(home, adapter, 0)).eval()(ids).logits
    assert torch.equal(none, wanted), "at strength 0 it is the base"


def test_the_adapter_itself_stays_as_it_is_and_one_folder_serves_again(home: Home, base: Path, tmp_path: Path) -> None:
    adapter = lora(tmp_path / "adapter", base, np.random.default_rng(0))
    before = (adapter / "adapter_config.json").read_bytes()
    one, again = (strength.scaled(home, adapter, 0.7) for _ in range(2))
    assert one == again != strength.scaled(home, adapter, 0.8)
    assert json.loads((one / "adapter_config.json").read_text())["lora_alpha"] == pytest.approx(0.7 * 8)
    assert (adapter / "adapter_config.json").read_bytes() == before


@pytest.mark.parametrize("options", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}])
def test_what_is_more_than_factors_is_refused(
    home: Home, base: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    adapter = lora(tmp_path / "adapter", base, np.random.default_rng(0), **options)
    with pytest.raises(Unsupported, match="has no strength"):
        strength.scaled(home, adapter, 0.5)


def test_a_strength_is_part_of_the_reference() -> None:
    assert parse("run:ember*0.7") == Ref.run("ember", None, 0.7)
    assert str(parse("run:ember@40*1.50")) == "run:ember@40*1.5"
    assert str(parse("run:ember*1")) == "run:ember", "the run's own strength has one spelling"
    assert parse_run("ember*0.5", strength=True).strength == 0.5
    with pytest.raises(BadInput, match="names a strength"):
        parse_run("ember*0.5")
    for wrong in ("run:ember*", "run:ember*x", "run:ember*-1", "run:ember*0.5@3"):
        with pytest.raises(BadInput):
            parse(wrong)


def test_a_strength_out_of_range_is_refused(home: Home, base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="between 0 and 2"):
        strength.scaled(home, lora(tmp_path / "adapter", base, np.random.default_rng(0)), 3)
