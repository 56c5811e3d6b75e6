"""TrainConfig: what it accepts, what it says about the rest, and that equal configs have equal hashes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from engine.training.config import TrainConfig
from store.errors import BadInput


def test_json_and_back_is_the_same_config() -> None:
    config = TrainConfig(model="m", targets=("q_proj", "v_proj"), steps=7, lr=1e-3, threads=2)
    again = TrainConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config and again.hash() == config.hash()


def test_whole_numbers_where_fractions_may_stand_hash_alike() -> None:
    assert TrainConfig(model="m", alpha=32, epochs=3).hash() == TrainConfig(model="m", alpha=32.0, epochs=3.0).hash()


def test_a_config_from_before_train_turns_means_the_last_turn_and_keeps_its_hash() -> None:
    old = TrainConfig(model="m", train_turns="last").to_json()
    assert "train_turns" not in old, "written as it was before there was such a field"
    assert TrainConfig.from_json(old).train_turns == "last" and TrainConfig.from_json(old).to_json() == old
    new = TrainConfig(model="m")
    assert new.train_turns == "all" and TrainConfig.from_json(new.to_json()) == new
    # hash of {"model": "m", "steps": 3} as released before the field came
    assert (
        TrainConfig.from_json({"model": "m", "steps": 3}).hash()
        == "74042142223ac91f1dcd6483999b43da75a353bf21cb73cfc3ff5dd00a5cbc17"
    )


OTHER: dict[str, Any] = {
    "model": "n",
    "method": "lora",
    "dtype": "bf16",
    "scheduler": "cosine",
    "targets": "q_proj",
    "rslora": True,
    "dora": True,
    "packing": "padded",
    "recipe": "careful",
    "steps": 3,
    "threads": 1,
    "train_turns": "last",
}


@pytest.mark.parametrize("name", sorted(TrainConfig(model="m").to_json()))
def test_every_field_counts_in_the_hash(name: str) -> None:
    config = TrainConfig(model="m")
    old = getattr(config, name)
    value = OTHER[name] if name in OTHER else old / 2 or 0.5 if isinstance(old, float) else old + 8
    assert config.replace(**{name: value}).hash() != config.hash()


WRONG: dict[str, list[Any]] = {
    "model": ["", None],
    "method": ["full"],
    "dtype": ["fp16"],
    "steps": [0, 1.5, True],
    "epochs": [0, math.inf],
    "batch_size": [0, "8"],
    "lr": [0, -1, math.nan, "1e-3"],
    "scheduler": [["linear"]],
    "train_turns": ["some", True],
    "warmup": [1.1],
    "weight_decay": [-0.1],
    "max_grad_norm": [-1],
    "max_length": [7],
    "seed": [-1],
    "rank": [0],
    "alpha": [0],
    "dropout": [1],
    "targets": ["", [], [1]],
    "rslora": [1],
    "dora": ["yes"],
    "packing": ["none"],
    "save_every": [-1],
    "keep_checkpoints": [0],
    "threads": [0],
    "recipe": [3],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        TrainConfig.from_json({"model": "m", field: value})
    assert caught.value.where == field and caught.value.what.startswith(f"{field} is ")
    with pytest.raises(BadInput):
        TrainConfig(model="m").replace(**{field: value})


def test_an_unknown_field_is_named_with_its_neighbour() -> None:
    with pytest.raises(BadInput, match="batchsize") as caught:
        TrainConfig.from_json({"model": "m", "batchsize": 4})
    assert caught.value.todo == "Did you mean batch_size?"
    with pytest.raises(BadInput, match="zzz"):
        TrainConfig(model="m").replace(zzz=1)


def test_a_config_must_be_an_object_with_a_model() -> None:
    for wrong in ([], {"lr": 0.1}, "text"):
        with pytest.raises(BadInput):
            TrainConfig.from_json(wrong)  # type: ignore[arg-type]
