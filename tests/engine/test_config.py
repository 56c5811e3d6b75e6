"""TrainConfig: what it accepts, what it says about the rest, and that equal configs have equal hashes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from engine.training.config import FIELDS, TrainConfig
from engine.training.launchers import LAUNCHERS
from engine.training.objectives import OBJECTIVES, why_unused
from engine.training.recipes import config_for
from store.errors import BadInput, Unsupported


def test_json_and_back_is_the_same_config() -> None:
    config = TrainConfig(model="m", targets=("q_proj", "v_proj"), steps=7, lr=1e-3, threads=2)
    again = TrainConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config and again.hash() == config.hash()


def test_whole_numbers_where_fractions_may_stand_hash_alike() -> None:
    assert TrainConfig(model="m", alpha=32, epochs=3).hash() == TrainConfig(model="m", alpha=32.0, epochs=3.0).hash()


BEFORE: dict[str, Any] = {"train_turns": "last", "method": "qlora"}
"""What runs did before fields were added, or got another default."""


def before(recipe: str, model: str, **then: Any) -> TrainConfig:
    """What a recipe gave in the first release; `then` are its values that changed since."""
    added = {name: field.until_added for name, field in FIELDS.items() if field.added_later and name not in BEFORE}
    return config_for(recipe, model, **BEFORE, **then).replace(**added)


GOLDEN = {
    "aa319b7c055ff1963db15c352fb2325ad36e0756acf79627c8bf69c6f5f16b31": TrainConfig(model="m", **BEFORE),
    "55adf9485e5204f70915e1096e0465f55ba9a3be97e6edca1a8169581979465e": TrainConfig(
        model="/models/base", method="lora", targets=("q_proj", "v_proj"), rslora=True, dora=True, steps=12, lr=1e-3,
        alpha=16, threads=2, save_every=5, packing="padded", dtype="fp32", scheduler="constant", seed=7,
        recipe="careful", train_turns="last",
    ),
    "c7af49259d76bafeaf6b1c3539796c510ab1719b991ad22b028c3e39bb0ff3e6": before(
        "identity", "smollm2-135m", lr=5e-4, steps=76
    ),
    "0a43b74532a399e8604e831afb129ba3f83cef47b017897bffab4c225dc00ce5": before(
        "identity", "org/Model-7B", lr=5e-4 * 0.4, steps=76
    ),
    "200595241090e8bd0a66f05a6bd0e48f22ec9025b836a876c6e7464ca6b9a1b8": before("instruct", "smollm2-135m"),
    "91fe325f7f7db1d8583215b568619417bcaba0ef39546ac3dc0095c5358d497f": before("instruct", "org/Model-7B"),
    "22b3f86d2b2710368f84c152a98c94a971ced5ff2c6616f5ad87875f180b55f1": before("careful", "smollm2-135m"),
    "e57bf8fe36a253f7ca8ae48f12cba45a5a600e427d7a66e6fa859aaa2a2d0096": before("careful", "org/Model-7B"),
}  # fmt: skip
"""Hashes as the first release computed them: a resume compares them, so they must never change."""

FIRST_RELEASE: dict[str, Any] = {
    "model": "m", "method": "qlora", "dtype": "auto", "steps": None, "epochs": 3.0, "batch_size": 8, "lr": 0.0005,
    "scheduler": "linear", "warmup": 0.1, "weight_decay": 0.0, "max_grad_norm": 1.0, "max_length": 1024, "seed": 0,
    "rank": 16, "alpha": 32.0, "dropout": 0.0, "targets": "all-linear", "rslora": False, "dora": False,
    "packing": "shared-prefix", "save_every": 0, "keep_checkpoints": 2, "threads": None, "recipe": "identity",
}  # fmt: skip


@pytest.mark.parametrize("hash", GOLDEN)
def test_hashes_of_existing_runs_stay_as_they_are(hash: str) -> None:
    config = GOLDEN[hash]
    assert config.hash() == hash
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))).hash() == hash


def test_the_json_of_existing_runs_stays_as_it_is() -> None:
    assert TrainConfig(model="m", **BEFORE).to_json() == FIRST_RELEASE
    assert TrainConfig.from_json(FIRST_RELEASE) == TrainConfig(model="m", **BEFORE)


def test_a_run_from_before_train_turns_trained_the_last_turn_and_a_new_one_trains_all() -> None:
    assert TrainConfig(model="m").train_turns == config_for("identity", "m").train_turns == "all"
    assert TrainConfig.from_json({"model": "m"}).train_turns == "last"
    for turns in ("all", "last"):
        config = TrainConfig(model="m", train_turns=turns)
        assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("name", FIELDS)
def test_what_a_form_shows_is_read_back_as_the_same_value(name: str) -> None:
    field = FIELDS[name]
    for value in (field.default if name != "model" else "m", *TEXTS.get(name, ())):
        assert field.parse(field.format(value)) == value


TEXTS: dict[str, list[Any]] = {
    "lr": [1e-5, 0.123456, 1.0], "steps": [1, 10**9], "targets": [("q_proj", "v_proj")], "dora": [True],
    "alpha": [1e6, 0.5], "threads": [4], "seed": [2**32 - 1], "method": ["lora"], "model": ["org/name", "./a b"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [("rank", "huge"), ("rank", "8.5"), ("lr", "nan"), ("lr", "inf"), ("lr", ""), ("lr", "2"), ("targets", " , "),
     ("dora", "maybe"), ("threads", "0"), ("scheduler", "linea"), ("seed", "-1"), ("epochs", "0")],
)  # fmt: skip
def test_a_typed_value_that_makes_no_sense_is_named_by_its_label_and_range(name: str, text: str) -> None:
    field = FIELDS[name]
    with pytest.raises(BadInput) as caught:
        field.parse(text)
    assert caught.value.where == name
    assert caught.value.what.startswith(f"{field.label} is ") and field.range in caught.value.what


def test_a_long_wrong_value_is_cut_in_the_error() -> None:
    with pytest.raises(BadInput) as caught:
        FIELDS["rank"].parse("x" * 10_000)
    assert len(caught.value.what) < 200


def test_every_field_has_a_label_of_its_own_and_help() -> None:
    labels = [field.label for field in FIELDS.values()]
    assert len(set(labels)) == len(labels)
    assert all(field.help.endswith(".") for field in FIELDS.values())


OTHER: dict[str, Any] = {
    "model": "n",
    "train_turns": "last",
    "system": "fold",
    "template": "chatml",
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
    "watch": "general",
    "on": "run:m",
    "dpo_loss": "ipo",
    "reward": "run:m",
    "reward_file": "f.py:f",
    "reward_probes": "facts",
    "reward_judge": "run:j",
    "reward_rubric": "r.txt",
    "drift": True,
    "lr_trial": True,
    "stop_when": "probes",
    "result": "probes",
    "modules_to_save": ("norm",),
    "lora_init": "gaussian",
    "lora_plus": 16.0,
    "optimizer": "paged_adamw_8bit",
}


@pytest.mark.parametrize(
    "name", sorted(name for name, field in FIELDS.items() if name != "objective" and not field.how)
)
def test_every_field_counts_in_the_hash(name: str) -> None:
    uses = next(each for each in OBJECTIVES if why_unused(each, name) is None)
    config = TrainConfig(model="m", objective=uses)
    old = getattr(config, name)
    value = OTHER[name] if name in OTHER else old / 2 or 0.5 if isinstance(old, float) else old + 8
    assert config.replace(**{name: value}).hash() != config.hash()


def test_how_a_run_is_computed_counts_in_no_hash() -> None:
    one, two = TrainConfig(model="m"), TrainConfig(model="m", launcher="torchrun", processes=2, shard=True)
    assert one.hash() == two.hash() and one.to_json() != two.to_json()
    assert TrainConfig.from_json(two.to_json()) == two


SHARED: dict[str, Any] = {"launcher": "torchrun", "processes": 2, "shard": True, "method": "lora"}


@pytest.mark.parametrize(
    ("settings", "where", "says"),
    [
        ({"processes": 2}, "processes", "local starts one process, not 2"),
        ({"launcher": "torchrun", "objective": "grpo", "reward": "run:m"}, "launcher", "do not share the grpo loss"),
        ({"launcher": "torchrun", "objective": "dpo"}, "launcher", "towards sft only"),
        ({"launcher": "torchrun", "method": "adalora"}, "launcher", "does not train the method adalora"),
        ({"shard": True}, "shard", "holds the whole model"),
        ({**SHARED, "processes": 1}, "processes", "this run has one"),
        ({**SHARED, "method": "qlora"}, "shard", "its 4-bit weights cannot be divided"),
        ({**SHARED, "optimizer": "paged_adamw_8bit"}, "optimizer", "does not train a sharded model"),
        ({**SHARED, "lr_trial": True}, "lr_trial", "needs the whole model in one process"),
        ({**SHARED, "objective": "dpo"}, "launcher", "towards sft only"),
    ],
)
def test_what_a_launcher_does_not_carry_is_refused(settings: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        TrainConfig(model="m", **settings)
    assert caught.value.where == where and caught.value.todo


def test_processes_need_a_card_each_or_share_the_cores() -> None:
    config = TrainConfig(model="m", launcher="torchrun", processes=4)
    torchrun = LAUNCHERS["torchrun"]
    assert torchrun.limits(config, cores=4, cards=0) == torchrun.limits(config, cores=1, cards=4) == []
    assert "4 processes share 2 CPU cores" in torchrun.limits(config, cores=2, cards=0)[0]
    with pytest.raises(Unsupported, match="need 4 graphics cards, one each, and this machine has 2"):
        torchrun.limits(config, cores=64, cards=2)


def test_a_launcher_whose_extra_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(model="m", launcher="ray", processes=2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unsupported, match="needs Ray, which is not installed") as caught:
        LAUNCHERS["ray"].limits(config, cores=2, cards=0)
    assert "tuningfork[ray]" in caught.value.todo
    monkeypatch.undo()
    with pytest.raises(BadInput, match="ray trains towards sft only"):
        config.replace(objective="dpo")


WRONG: dict[str, list[Any]] = {
    "model": ["", None],
    "method": ["ia3"],
    "dtype": ["fp16"],
    "steps": [0, 1.5, True],
    "epochs": [0, math.inf],
    "batch_size": [0, "8"],
    "lr": [0, -1, math.nan, "1e-3", 10**400],
    "scheduler": [["linear"]],
    "warmup": [1.1],
    "weight_decay": [-0.1],
    "max_grad_norm": [-1],
    "max_length": [7],
    "seed": [-1],
    "rank": [0],
    "alpha": [0],
    "dropout": [1],
    "targets": ["", [], [1]],
    "modules_to_save": ["norm", "all-linear", [], [1]],
    "lora_plus": [0.5],
    "lora_init": ["pissa"],
    "virtual_tokens": [0],
    "accumulation": [0],
    "neftune": [-1],
    "optimizer": ["sgd"],
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
    assert caught.value.where == field and caught.value.what.startswith(f"{FIELDS[field].label} is ")
    assert "must be" in caught.value.what and FIELDS[field].range in caught.value.what
    with pytest.raises(BadInput):
        TrainConfig(model="m").replace(**{field: value})


def test_an_unknown_field_is_named_with_its_neighbour() -> None:
    with pytest.raises(BadInput, match="batchsize") as caught:
        TrainConfig.from_json({"model": "m", "batchsize": 4})
    assert caught.value.todo == "Did you mean batch_size?"
    with pytest.raises(BadInput, match="zzz"):
        TrainConfig(model="m").replace(zzz=1)


def test_a_config_must_be_an_object_with_a_model() -> None:
    for wrong in (list[str](), {"lr": 0.1}, "text"):
        with pytest.raises(BadInput):
            TrainConfig.from_json(wrong)  # type: ignore[arg-type]
