"""Recipes: every one is a valid config, overrides win, and larger models learn at a lower rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.training.objectives import OBJECTIVES
from engine.training.recipes import DEFAULT, RECIPES, config_for, size_of
from store.errors import BadInput, NotFound


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_makes_a_config(name: str) -> None:
    config = config_for(name, "smollm2-135m")
    assert config.recipe == name and config.model == "smollm2-135m" and RECIPES[name].summary.endswith(".")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_names_its_sources_and_an_objective_that_exists(name: str) -> None:
    assert RECIPES[name].sources and all(RECIPES[name].sources)
    assert config_for(name, "smollm2-135m").objective in OBJECTIVES
    assert {"identity", "style", "instruct", "facts"} <= set(RECIPES)
    assert ("preference" in RECIPES) is ("dpo" in OBJECTIVES)


def test_the_default_recipe_exists() -> None:
    assert DEFAULT in RECIPES


def test_overrides_win_and_none_is_not_given() -> None:
    config = config_for("identity", "m", lr=1e-5, rank=None, steps=3)
    assert (config.lr, config.rank, config.steps) == (1e-5, RECIPES["identity"].changes["rank"], 3)


def test_asking_for_epochs_takes_the_recipes_steps_away() -> None:
    config = config_for("identity", "m", epochs=2)
    assert config.steps is None and config.epochs == 2
    assert config_for("identity", "m", epochs=2, steps=9).steps == 9


def test_wrong_names_are_told() -> None:
    with pytest.raises(NotFound) as caught:
        config_for("identiti", "m")
    assert caught.value.todo == "Did you mean identity?"
    with pytest.raises(BadInput, match="learning_rate"):
        config_for("identity", "m", learning_rate=1)


def test_larger_models_get_a_lower_rate() -> None:
    rates = [config_for("identity", ref).lr for ref in ("smollm2-135m", "org/Model-1.7B-Instruct", "org/model-7b")]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == 3


@pytest.mark.parametrize(
    ("ref", "size"),
    [
        ("smollm2-135m", 135e6),
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.5e9),
        ("meta-llama/Llama-3.1-8B", 8e9),
        ("org/some-model", None),
        ("org/mamba-v2-beta", None),
    ],
)
def test_size_by_name(ref: str, size: float | None) -> None:
    assert size_of(ref) == size


def test_size_by_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 400)
    assert size_of(str(tmp_path)) == 200
    (tmp_path / "model.safetensors.index.json").write_text('{"metadata": {"total_size": 6000000000}}')
    assert size_of(str(tmp_path)) == 3e9
    (tmp_path / "model.safetensors.index.json").write_text("broken")
    assert size_of(str(tmp_path)) is None
