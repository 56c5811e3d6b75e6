"""The estimate of a run's time and memory: what it is made of, and what it suggests when memory is short."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.training.activations import PACK_TOKENS, activation_bytes
from engine.training.config import TrainConfig
from engine.training.estimate import Gpu, Machine, choose_method, estimate, total_steps
from engine.training.methods import METHODS
from engine.training.model_facts import ModelFacts, model_facts
from engine.training.preflight import Preflight
from store.errors import BadInput

SMOL = ModelFacts(weights=134_515_008, linear_weights=106_168_320, layers=30, hidden=576, vocabulary=49_152)
ROWS = Preflight(
    rows=100, val_rows=0, tokens=6000, trained_tokens=2000, truncated=[], masked=[], empty=[], longest=180,
    prefix_tokens=30, eot_trained=True, samples=[],
)  # fmt: skip
CPU = Machine(cores=2, memory_bytes=16 * 10**9, gpus=[], fast_bf16=True)


def gpu(free: float) -> Machine:
    return Machine(cores=2, memory_bytes=16 * 10**9, gpus=[Gpu("Card", int(free), int(free))], fast_bf16=True)


@pytest.mark.parametrize(
    ("machine", "changes", "bytes", "seconds"),
    [
        (CPU, {"method": "qlora"}, 1_942_723_310, 34.4),
        (CPU, {"method": "lora"}, 1_887_515_784, 34.4),
        (CPU, {"method": "lora", "dtype": "fp32", "rank": 64, "packing": "padded"}, 2_960_009_512, 134.6),
        (gpu(80e9), {"method": "qlora"}, 1_730_386_670, 11.0),
        (
            gpu(80e9),
            {"method": "qlora", "steps": 20, "dtype": "fp32", "batch_size": 64, "threads": 1},
            9_931_755_408,
            11.2,
        ),
    ],
)
def test_the_estimate_is_what_it_was_before_methods_had_their_own_formula(
    machine: Machine, changes: dict[str, Any], bytes: int, seconds: float
) -> None:
    found = estimate(TrainConfig(model="m", **changes), ROWS, SMOL, machine)
    assert found.memory_bytes == bytes and found.seconds == pytest.approx(seconds, abs=0.06)


def test_four_bits_save_memory_on_a_card_and_not_where_the_weights_are_kept_dequantised() -> None:
    config = TrainConfig(model="m")
    lora, qlora = (METHODS[name].memory for name in ("lora", "qlora"))
    assert qlora(config, SMOL, "cuda", 16e9) < lora(config, SMOL, "cuda", 16e9)
    assert qlora(config, SMOL, "cpu", 16e9) > lora(config, SMOL, "cpu", 16e9), "the copy is kept"
    assert qlora(config, SMOL, "cpu", 0.5e9) < lora(config, SMOL, "cpu", 0.5e9), "there is no memory for a copy"


def test_memory_grows_with_rank_and_dtype() -> None:
    for method in METHODS.values():
        plain = TrainConfig(model="m", method=method.name)
        mine = {"rank": 64} if "rank" in method.fields else {"virtual_tokens": 99} if method.fields else {}
        for more in filter(None, (mine, {"dtype": "fp32"})):
            assert method.memory(plain.replace(**more), SMOL, "cuda", 16e9) > method.memory(plain, SMOL, "cuda", 16e9)


def test_activations_are_those_of_one_pack() -> None:
    one = activation_bytes(30, 576, 2)
    assert one == 30 * 576 * 60 and activation_bytes(30, 576, 4) == 2 * one
    small, large = (estimate(TrainConfig(model="m", batch_size=n), ROWS, SMOL, CPU) for n in (256, 1024))
    assert small.memory_bytes == large.memory_bytes, f"both fill packs of {PACK_TOKENS['cpu']} tokens"


def test_numbers_take_32_bits_where_bf16_would_be_emulated() -> None:
    plain, config = replace(CPU, fast_bf16=False), TrainConfig(model="m", method="lora")
    found = estimate(config, ROWS, SMOL, plain)
    assert found == estimate(config.replace(dtype="fp32"), ROWS, SMOL, plain)
    assert found.memory_bytes > estimate(config, ROWS, SMOL, CPU).memory_bytes * 1.2
    assert estimate(config.replace(dtype="bf16"), ROWS, SMOL, plain).memory_bytes < found.memory_bytes
    assert "in 32 bits" in choose_method(TrainConfig(model="m"), SMOL, plain).why
    assert "in 16 bits" in choose_method(TrainConfig(model="m"), SMOL, replace(gpu(80e9), fast_bf16=False)).why


def test_short_memory_names_what_to_lower() -> None:
    note = estimate(TrainConfig(model="m", method="lora"), ROWS, SMOL, gpu(1e9)).note
    assert note == (
        "Card has only 1.0 GB. Choose the method qlora, a smaller model or a lower batch size or max length."
    )
    assert "qlora" not in estimate(TrainConfig(model="m", method="qlora"), ROWS, SMOL, gpu(1e9)).note


def cpu(bytes: float) -> Machine:
    return Machine(cores=2, memory_bytes=int(bytes), gpus=[], fast_bf16=True)


SEVEN = ModelFacts(weights=7_000_000_000, linear_weights=6_500_000_000, layers=32, hidden=4096, vocabulary=32_000)


@pytest.mark.parametrize(
    ("facts", "machine", "method", "words"),
    [
        (SMOL, CPU, "lora", "of the 16.0 GB of this machine"),
        (SMOL, gpu(8e9), "lora", "of the 8.0 GB of Card"),
        (SEVEN, gpu(80e9), "lora", "of the 80.0 GB of Card"),
        (SEVEN, gpu(12e9), "qlora", "which is too much"),
        (SEVEN, cpu(12e9), "qlora", "which is too much"),
        (replace(SEVEN, own_blocks="Q4_1"), gpu(12e9), "lora", "quantised already (Q4_1)"),
    ],
)
def test_the_method_follows_the_size(facts: ModelFacts, machine: Machine, method: str, words: str) -> None:
    found = choose_method(TrainConfig(model="m"), facts, machine)
    assert found.method == method and words in found.why
    guess = estimate(TrainConfig(model="m"), ROWS, facts, machine)
    assert guess.why == found.why
    assert guess == replace(estimate(TrainConfig(model="m", method=method), ROWS, facts, machine), why=found.why)


def test_a_quantised_file_takes_as_much_memory_with_either_method() -> None:
    facts = replace(SMOL, own_blocks="Q4_1")
    one, two = (estimate(TrainConfig(model="m", method=name), ROWS, facts, gpu(1e9)) for name in ("lora", "qlora"))
    assert one.memory_bytes == two.memory_bytes and "qlora" not in one.note


def test_steps_win_over_epochs() -> None:
    assert total_steps(TrainConfig(model="m", epochs=2.0, batch_size=8), 20) == 6
    assert total_steps(TrainConfig(model="m", epochs=2.0, steps=5), 20) == 5
    assert total_steps(TrainConfig(model="m", epochs=0.01), 1) == 1


@pytest.mark.parametrize("content", [None, "{oops", "[1]"])
def test_a_folder_without_a_usable_config_is_named(tmp_path: Any, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadInput, match=r"config\.json"):
        model_facts(tmp_path)


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_dora_cannot_be_written_as_a_gguf_adapter(method: str) -> None:
    assert "gguf-adapter" in METHODS[method].exports(TrainConfig(model="m", method=method))
    assert "gguf-adapter" not in METHODS[method].exports(TrainConfig(model="m", method=method, dora=True))
