"""`tuningfork preflight` on a small tokenizer: what it counts and shows, and data that a run would refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.training.config import TrainConfig
from store.db import Store
from store.home import Home
from tests.tui.cli.conftest import Cli
from tui.screens.train import report


def test_json(tf: Cli, facts: str, small: str) -> None:
    found = tf.json("preflight", "--dataset", facts, "--model", small, "--steps", "5")
    assert (found["dataset"], found["model"], found["ok"]) == (facts, small, True)
    assert (found["rows"], found["truncated"], found["masked"], found["empty"]) == (4, [], [], [])
    assert 0 < found["trained_tokens"] < found["tokens"] and found["eot_trained"] is True
    assert found["estimate"]["steps"] == 5 and found["estimate"]["memory_bytes"] > 0
    assert "Answer" in "".join(text for text, trained in found["samples"][0] if trained)


def test_for_a_person_what_is_trained_is_marked(tf: Cli, facts: str, small: str) -> None:
    shown = tf.ok("preflight", "--dataset", facts, "--model", small)
    assert "[[Answer " in shown and ".<|im_end|>]]" in shown and "user\nQuestion" in shown
    assert "4 to train on" in shown and "A run of" in shown


def test_data_that_a_run_would_refuse(tf: Cli, facts: str, small: str) -> None:
    result = tf("preflight", "--dataset", facts, "--model", small, "--max-length", "12", "--json")
    assert result.exit_code == 2 and json.loads(result.stdout)["ok"] is False
    error = json.loads(result.stderr)
    assert "max length of 12 tokens" in error["what"] and error["where"] == f"dataset {facts}"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--objective", "grpo"), "--reward"),
        (("--targets", "nothing_proj"), "--targets"),
        (("--modules-to-save", "nothing"), "--modules-to-save"),
    ],
)
def test_a_refusal_names_the_option(tf: Cli, facts: str, small: str, words: tuple[str, ...], option: str) -> None:
    for command in (("preflight",), ("train",), ("train", "--dry-run")):
        assert tf.error(*command, "--dataset", facts, "--model", small, *words)["where"] == option


def test_a_row_is_named_with_the_file_it_came_from(tf: Cli, facts: str, small: str) -> None:
    result = tf("preflight", "--dataset", facts, "--model", small, "--max-length", "12")
    assert result.exit_code == 2 and "1 (facts.json line 1, pair " in result.stderr, result.stderr


def test_rows_that_all_lose_their_end_end_with_an_error(tf: Cli, facts: str, small: str) -> None:
    found = tf.json("preflight", "--dataset", facts, "--model", small)
    result = tf("preflight", "--dataset", facts, "--model", small, "--max-length", str(found["longest"] - 1))
    assert result.exit_code == 2 and "none keeps the token that ends its answer" in result.stderr


def test_a_model_without_a_template_is_given_one(tf: Cli, facts: str, small: str) -> None:
    (Path(small) / "chat_template.jinja").unlink()
    assert "--template chatml" in (tf.error("preflight", "--dataset", facts, "--model", small)["todo"] or "")
    for name in ("chatml", "alpaca", "plain"):
        assert tf.json("preflight", "--dataset", facts, "--model", small, "--template", name)["ok"]


def test_no_run_and_no_pair_is_made(tf: Cli, facts: str, small: str) -> None:
    tf.ok("preflight", "--dataset", facts, "--model", small)
    assert tf.json("runs", "list") == [] and len(tf.json("data", "search")) == 4


def test_probes_that_the_run_will_not_ask_are_named_before_it(tf: Cli, home: Home, facts: str, small: str) -> None:
    found = tf.json("preflight", "--dataset", facts, "--model", small, "--watch", "identity")
    with Store.open(home) as store:
        in_the_app = report.check(store, facts, TrainConfig(model=small, watch="identity"), print)
    for notes in (found["notes"], in_the_app.preflight.notes):
        assert any("'identity' are not asked: no identity row" in note for note in notes), notes
