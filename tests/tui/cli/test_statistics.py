"""`tuningfork data stats`: the whole report as JSON and as text, tokens with a model, and what is said without one."""

from __future__ import annotations

from tests.tui.cli.conftest import Cli


def test_json_without_a_model_counts_no_tokens(tf: Cli, facts: str) -> None:
    found = tf.json("data", "stats", "--dataset", facts)
    assert (found["pairs"], found["kind"], found["status"]) == (4, {"instruction": 4}, {"ready": 4})
    assert found["histograms"]["answer_chars"] == [{"from": 9, "to": 10, "count": 4}]
    assert found["measured"] == {"pairs": 4, "of": "ready"} and found["languages"] == {"unsure": 4}
    assert found["tokens"] is None and "--model REF" in found["tokens_missing"]
    assert found["forms"]["missing"] == [] and found["advice"]


def test_tokens_steps_and_time_of_a_model(tf: Cli, facts: str, small: str) -> None:
    found = tf.json("data", "stats", "--dataset", facts, "--model", small, "--recipe", "facts")
    tokens, checked = found["tokens"], tf.json("preflight", "--dataset", facts, "--model", small, "--recipe", "facts")
    assert (tokens["model"], tokens["recipe"], tokens["rows"]) == (small, "facts", 4)
    assert tokens["row_tokens"]["total"] == checked["tokens"]
    assert tokens["trained_tokens"]["total"] == checked["trained_tokens"]
    assert tokens["row_tokens"]["max"] == checked["longest"]
    assert (tokens["steps"], tokens["problems"]) == (checked["estimate"]["steps"], [])
    assert tokens["seconds"] > 0 and tokens["steps_per_pass"] == 1
    assert sum(bar["count"] for bar in tokens["histograms"]["row_tokens"]) == 4
    assert tf.json("runs", "list") == [] and tf.json("data", "snapshots", "list") != [], "only preflight freezes"


def test_for_a_person(tf: Cli, small: str) -> None:
    tf.ok("data", "wizard", "--name", "小星", "--maker", "北风科技", "--language", "zh", "--dataset", "star", "--yes")
    said = tf.ok("data", "stats", "--dataset", "star", "--model", small)
    for text in ("你是", "Question forms of", "denial: taken for another assistant", "A pass over the data takes",
                 "Rows, in tokens", "█"):  # fmt: skip
        assert text in said, text
    assert "No identity pair of these forms: languages" in said
    assert said.rstrip().endswith("of memory.")


def test_a_row_longer_than_the_recipe_takes_is_measured_in_full(tf: Cli, facts: str, small: str) -> None:
    tf.ok("data", "add", "--question", "Long?", "--answer", "word " * 1_500, "--dataset", facts)
    tokens = tf.json("data", "stats", "--dataset", facts, "--model", small)["tokens"]
    assert tokens["truncated"] == 1 and tokens["row_tokens"]["max"] > 1_500 > tokens["max_length"]


def test_an_unknown_recipe_and_a_model_that_is_not_there_are_refused(tf: Cli, facts: str, small: str) -> None:
    assert "no recipe" in tf.error("data", "stats", "--dataset", facts, "--model", small, "--recipe", "x")["what"]
    assert tf.error("data", "stats", "--dataset", facts, "--model", "./not-there")["todo"]
