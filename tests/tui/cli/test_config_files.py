"""`train --config`, `--print-config`, `--dry-run` and `runs config`: one file, and the same run as from the form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.training import config_files
from engine.training.config import TrainConfig
from engine.training.methods import METHODS
from engine.training.objectives import OBJECTIVES
from engine.training.recipes import RECIPES, config_for
from store import runs
from store.db import Store
from store.errors import BadInput
from tests.tui.cli.conftest import Cli

Write = Callable[[str, str | bytes], str]


def said(tmp_path: Path, text: str) -> config_files.ConfigFile:
    path = tmp_path / "run.yaml"
    path.write_text(text, "utf-8")
    return config_files.read(path)


def trains(recipe: str, method: str) -> bool:
    """Whether the recipe's objective can be trained by the method: what cannot is refused elsewhere."""
    known = OBJECTIVES[config_for(recipe, "org/Model-7B").objective].methods
    return not known or method in ("auto", *known)


@pytest.mark.parametrize(("recipe", "method"), [(r, m) for r in RECIPES for m in ["auto", *METHODS] if trains(r, m)])
def test_every_recipe_and_method_reads_back_with_its_hash(tf: Cli, write: Write, recipe: str, method: str) -> None:
    config = config_for(recipe, "org/Model-7B", method=method, epochs=2.5, lr=3.3e-5, seed=7)
    path = write("run.yaml", config_files.write(config))
    assert tf.json("train", "--config", path, "--print-config")["config_hash"] == config.hash()


def test_settings_without_a_value_and_texts_of_several_lines_read_back(tf: Cli, write: Write) -> None:
    template = "{% for m in messages %}\n\t{{ m.content }}  \n{% endfor %}"
    config = config_for("instruct", "org/m", targets=("q_proj", "v_proj"), template=template, threads=2)
    config = config.replace(watch=None, steps=None)
    path = write("run.yaml", config_files.write(config))
    assert tf.json("train", "--config", path, "--print-config")["config_hash"] == config.hash()


def test_null_takes_a_recipes_own_value_away(tf: Cli, write: Write) -> None:
    found = tf.json("train", "--config", write("run.yaml", "recipe: identity\nsteps:\nepochs: 1e0\n"), "--print-config")
    assert found["config"]["steps"] is None and found["config"]["epochs"] == 1.0


def test_values_mean_what_the_form_reads(tmp_path: Path) -> None:
    found = said(tmp_path, "lr: 5e-4\nrank: 8\ndora: true\ntargets: [q_proj, k_proj]\non: run:a\nmodel: 0123\n")
    assert found.values == {
        "lr": 5e-4, "rank": 8, "dora": True, "targets": ("q_proj", "k_proj"), "on": "run:a", "model": "0123"
    }  # fmt: skip
    assert found.lines["on"] == 5


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("rank: 8\nlearning_rate: 1\n", 2, "no setting 'learning_rate'"),
        ("rank: '8'\n", 1, "LoRA rank is '8'"),
        ("rank: eight\n", 1, "LoRA rank is 'eight'"),
        ("dora: yes\n", 1, "DoRA is 'yes'"),
        ("rank: 8\nrank: 9\n", 2, "twice: on line 1"),
        ("rank: [8]\n", 1, "LoRA rank is a list"),
        ("lr: {a: 1}\n", 1, "Learning rate is a group"),
        ("rank: 8\n  lr: 1\n", 2, "not valid YAML"),
        ("seed: null\n", 1, "Seed is empty"),
        ("name: []\n", 1, "name must be a name"),
        ("rank: !!python/object/apply:os.system [true]\n", 1, "LoRA rank is a list"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    with pytest.raises(BadInput, match=what) as error:
        said(tmp_path, text)
    assert error.value.where == f"{tmp_path / 'run.yaml'}, line {line}" and error.value.todo


def test_an_unknown_setting_gets_the_nearest_name(tf: Cli, write: Write) -> None:
    error = tf.error("train", "--config", write("run.yaml", "model: x\nbatchsize: 4\n"))
    assert error["where"].endswith("run.yaml, line 2") and error["todo"] == "Did you mean batch_size?"


@pytest.mark.parametrize(
    "body", [b"- a\n", b"", b"\xff\xfe\x00", b"a: &x [*x]\n", pytest.param(b"[" * 3000, id="deep")]
)
def test_what_is_no_configuration_is_refused(tf: Cli, write: Write, body: bytes) -> None:
    tf.error("train", "--config", write("run.yaml", body))


def test_a_setting_that_the_method_does_not_use_is_named_with_its_line(tf: Cli, write: Write) -> None:
    error = tf.error("train", "--config", write("run.yaml", "method: qlora\nbeta: 0.3\n"), "--print-config")
    assert error["where"].endswith("run.yaml, line 2") and "Beta is not used" in error["what"]


def test_options_replace_the_file_and_say_so(tf: Cli, write: Write, facts: str, base: str, workers: None) -> None:
    path = write("run.yaml", f"dataset: none\nname: mine\nmodel: {base}\nrecipe: careful\nrank: 4\nlr: 2e-4\n")
    result = tf("train", "--config", path, "--dataset", facts, "--rank", "2", "--json")
    assert result.exit_code == 0, result.stderr
    assert f"--rank replaces rank: 4 ({path}, line 5)." in result.stderr
    assert f"--dataset replaces dataset: none ({path}, line 1)." in result.stderr
    with Store.open(tf.home) as store:
        run = runs.get(store, "mine")
    config = TrainConfig.from_json(run.config)
    assert (config.recipe, config.rank, config.lr, run.base) == ("careful", 2, 2e-4, base)


def test_a_runs_settings_train_the_same_again(tf: Cli, write: Write, facts: str, base: str, workers: None) -> None:
    tf.json("train", "--dataset", facts, "--model", base, "--name", "one", "--rank", "4", "--lr", "auto")
    path = write("again.yaml", tf.ok("runs", "config", "one"))
    tf.json("train", "--config", path, "--name", "two")
    with Store.open(tf.home) as store:
        one, two = runs.get(store, "one"), runs.get(store, "two")
    assert (two.config_hash, two.snapshot) == (one.config_hash, one.snapshot)


def test_a_dry_run_starts_nothing(tf: Cli, write: Write, facts: str, small: str) -> None:
    path = write("run.yaml", f"dataset: {facts}\nmodel: {small}\nsteps: 5\n")
    found = tf.json("train", "--config", path, "--dry-run")
    assert (found["rows"], found["estimate"]["steps"], found["ok"]) == (4, 5, True)
    assert "A run of 5 steps takes about" in tf.ok("train", "--config", path, "--dry-run")
    assert tf.json("runs", "list") == []


def test_a_dry_run_refuses_a_name_that_is_taken(tf: Cli, facts: str, base: str, workers: None) -> None:
    words = ("train", "--dataset", facts, "--model", base, "--name", "one")
    tf.json(*words)
    assert "one already" in tf.error(*words, "--dry-run")["what"]


def test_a_file_that_is_not_there_and_a_folder_are_named(tf: Cli, tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        assert tf.error("train", "--config", str(path))["where"] == str(path)
        assert tf.error("migrate", str(path))["where"] == str(path)
