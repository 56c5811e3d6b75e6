"""`tuningfork preflight` on a small tokenizer: what it counts and shows, and data that a run would refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import make_tokenizer
from tests.tui.cli.conftest import Cli


@pytest.fixture
def small(base: str) -> str:
    """A model folder with a real tokenizer and template, and a size to estimate by."""
    size = make_tokenizer(Path(base))
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "vocab_size": size, "num_key_value_heads": 2, **shape}
    (Path(base) / "config.json").write_text(json.dumps(config))
    (Path(base) / "model.safetensors").write_bytes(b"\0" * 400_000)
    return base


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
    assert "max_length" in error["what"] and error["where"] == f"dataset {facts}"


def test_no_run_and_no_pair_is_made(tf: Cli, facts: str, small: str) -> None:
    tf.ok("preflight", "--dataset", facts, "--model", small)
    assert tf.json("runs", "list") == [] and len(tf.json("data", "search")) == 4
