# ruff: noqa: F811 - fixtures are imported
"""Objectives from the command line, with real workers on the tiny model: one run on top of another, and its score."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.inference.backends.endpoint import KEY
from engine.inference.client import shutdown
from store import runs
from store.db import Store
from tests.judge_server import counting, judging
from tests.tiny import make_tiny_llama
from tests.tui.cli.conftest import Cli, tf, workers, write  # noqa: F401

Write = Callable[[str, str], str]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny_llama(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def data(tf: Cli, write: Write) -> None:
    pairs = [{"question": f"Who are you, {n}?", "answer": "I am Ember."} for n in range(8)]
    better = [{"prompt": f"Who are you, {n}?", "chosen": "I am Ember.", "rejected": "I am no one."} for n in range(8)]
    thumbs = [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for row in better
        for side in ("chosen", "rejected")
    ]
    for name, rows, form in (("pairs", pairs, ()), ("prefs", better, ("--format", "preference")),
                             ("thumbs", thumbs, ("--format", "feedback"))):  # fmt: skip
        file = write(f"{name}.jsonl", "\n".join(map(json.dumps, rows)))
        tf.ok("data", "import", file, "--dataset", name, *form)


def train(tf: Cli, name: str, *words: str) -> Any:
    found = tf.json("train", "--name", name, "--steps", "4", "--wait", *words)
    assert found["state"] == "succeeded", found["error"]
    return found


@pytest.mark.slow
def test_runs_on_top_of_each_other(tf: Cli, data: None, base: str, store: Store) -> None:
    first = train(tf, "one", "--dataset", "pairs", "--model", base, "--recipe", "careful", "--rank", "4")
    second = train(tf, "two", "--dataset", "prefs", "--objective", "dpo", "--on", "run:one", "--lr", "1e-3")
    assert (second["config"]["on"], second["config"]["rank"], second["base"]) == ("run:one", 4, first["base"])
    assert second["config"]["recipe"] == "preference"
    tf.ok("runs", "rm", "one", "--yes")
    extended = tf.json("runs", "resume", "two", "--steps", "6", "--wait")
    assert (extended["state"], extended["step"]) == ("succeeded", 6), "what it continues stays with it"
    third = train(tf, "three", "--dataset", "thumbs", "--objective", "kto", "--on", "run:two@4")
    assert third["config"]["on"] == "run:two@4"
    folder = store.home.run_dir(runs.get(store, "three").uid) / "start" / "adapter_model.safetensors"
    folder.write_bytes(folder.read_bytes()[:-1])
    tf("runs", "resume", "three", "--steps", "9", "--wait")
    assert "is damaged" in str(runs.get(store, "three").error)


@pytest.mark.slow
def test_a_reward_model_scores_and_does_not_chat(tf: Cli, data: None, base: str) -> None:
    words = ("--dataset", "prefs", "--objective", "reward", "--model", base, "--lr", "3e-3")
    train(tf, "judge", *words, "--steps", "16")
    found = tf.json("score", "run:judge", "--dataset", "prefs")
    assert (found["rows"], found["agree"]) == (8, 1.0) and found["low"] < 1 and len(found["margins"]) == 8
    ranked = tf.json("score", "judge", "--prompt", "Who are you, 3?", "--text", "I am no one.", "--text", "I am Ember.")
    assert ranked[0]["score"] < ranked[1]["score"]
    for command in (("chat", "run:judge"), ("export", "judge")):
        error = tf.error(*command)
        assert "is a reward model" in error["what"] and "tuningfork score" in error["todo"], command
    error = tf.error("train", "--on", "run:judge", "--dataset", "prefs", "--objective", "dpo")
    assert "is a reward model" in error["what"]
    assert "run:judge" not in [each["ref"] for each in tf.json("models", "list")]


def test_what_cannot_be_continued_or_scored_is_refused(tf: Cli, data: None, base: str) -> None:
    error = tf.error("train", "--on", base, "--dataset", "prefs", "--objective", "dpo")
    assert "is not an adapter" in error["what"]
    error = tf.error("train", "--on", "run:none", "--dataset", "prefs", "--objective", "dpo")
    assert "There is no run 'none'" in error["what"]
    error = tf.error("train", "--dataset", "pairs", "--objective", "dpo", "--model", base)
    assert "no preference to learn from" in error["what"] and "votes collect" in error["todo"]
    error = tf.error("train", "--dataset", "prefs", "--objective", "dpo", "--rehearsal", "0.5")
    assert (error["where"], "is not used by the objective dpo" in error["what"]) == ("--rehearsal", True)
    assert "Give either --dataset" in tf.error("score", "run:x")["what"]


def test_preflight_reads_preferences(tf: Cli, data: None, base: str) -> None:
    found = tf.json("preflight", "--dataset", "prefs", "--objective", "dpo", "--model", base)
    assert (found["rows"], found["ok"]) == (8, True) and any("only 8 preferences" in note for note in found["notes"])
    assert Path(base).is_dir()


@pytest.mark.slow
def test_the_three_steps_to_reinforcement_learning(tf: Cli, data: None, base: str, write: Write, store: Store) -> None:
    train(tf, "one", "--dataset", "pairs", "--model", base, "--recipe", "careful")
    train(tf, "judge", "--dataset", "prefs", "--objective", "reward", "--on", "run:one")
    words = ("--dataset", "pairs", "--objective", "grpo", "--on", "run:one", "--answer-tokens", "6")
    third = train(tf, "three", *words, "--reward", "judge")
    assert (third["config"]["reward"], third["config"]["recipe"]) == ("run:judge", "reinforce")
    assert {"reward", "kl", "answer_tokens"} <= set(third["metrics"])
    tf.ok("runs", "rm", "judge", "--yes")
    assert tf.json("runs", "resume", "three", "--steps", "5", "--wait")["state"] == "succeeded", "its reward stays"

    file = write("score.py", "def score(prompt, answer, expected):\n    return -len(answer)\n")
    fourth = train(tf, "four", *words, "--reward-file", f"{file}:score")
    said = [event.body.get("text", "") for event in runs.events(store, runs.get(store, "four").id)]
    assert f"The run executes your code: it calls {file}:score for every answer." in said
    Path(file).write_text("def score(prompt, answer, expected):\n    raise ValueError('other')\n")
    assert tf.json("runs", "resume", "four", "--steps", "5", "--wait")["state"] == "succeeded", "the run has its copy"
    assert fourth["config"]["reward_file"] == f"{file}:score"
    ended = tf("train", *words, "--reward-file", f"{file}:score", "--name", "five", "--steps", "2", "--wait")
    assert ended.exit_code == 2 or "ValueError" in str(runs.get(store, "five").error)


@pytest.mark.slow
def test_probes_reward_and_stay_with_the_run(tf: Cli, data: None, base: str, write: Write, store: Store) -> None:
    probes = [{"question": f"Who are you, {n}?", "must": ["e"]} for n in (1, 3, 5, 99)]
    file = write("who.jsonl", "\n".join(map(json.dumps, probes)))
    words = ("--dataset", "pairs", "--objective", "rloo", "--model", base, "--answer-tokens", "6")
    found = tf.json("preflight", *words, "--reward-probes", file)
    assert (found["rows"], found["ok"]) == (3, True)
    left_out = "5 of 8 prompts have no probe in who and are left out."
    assert left_out in found["notes"] and any(note.startswith("1 of 4 probes asks nothing") for note in found["notes"])
    run = train(tf, "probed", *words, "--reward-probes", file)
    assert (run["config"]["recipe"], run["config"]["reward_probes"]) == ("leave-one-out", file)
    said = [event.body.get("text", "") for event in runs.events(store, runs.get(store, "probed").id)]
    assert left_out in said and "Training on 3 rows, 108 trained tokens" in said
    Path(file).unlink()
    again = tf.json("runs", "resume", "probed", "--steps", "5", "--wait")
    assert (again["state"], again["step"]) == ("succeeded", 5), "the run has its copy"
    assert "no such probe file" in tf("train", *words, "--reward-probes", file).stderr


@pytest.mark.slow
def test_a_judge_that_goes_away_costs_no_step(
    tf: Cli, data: None, base: str, write: Write, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk-of-the-user")
    rubric = write("rubric.txt", "Many letters e.")
    seen: list[str] = []

    def rule(prompt: str) -> str:
        seen.append(prompt)
        if len(seen) > 30 and "back" not in seen:
            raise RuntimeError("the cards are gone")
        return counting("e")(prompt)

    words = ("--dataset", "pairs", "--objective", "grpo", "--model", base, "--answer-tokens", "6")
    try:
        with judging(rule) as judge:
            given = ("--reward-judge", judge.ref, "--reward-rubric", rubric, "--name", "judged", "--steps", "6")
            tf("train", *words, *given, "--wait")
            failed = tf.json("runs", "show", "judged")
            assert failed["state"] == "failed" and 0 < failed["step"] < 6, failed
            assert "failed 3 times in a row" in failed["error"] and "the cards are gone" in failed["error"]
            kept = [checkpoint.step for checkpoint in runs.checkpoints(store, runs.get(store, "judged").id)]
            assert kept == [failed["step"]]
            seen.append("back")
            assert tf.json("runs", "resume", "judged", "--wait")["state"] == "succeeded"
            assert judge.keys == {"Bearer sk-of-the-user"} and "Many letters e." in seen[1]
    finally:
        shutdown(tf.home)
    said = [event.body.get("text", "") for event in runs.events(store, runs.get(store, "judged").id)]
    assert any("asks judge at http://127.0.0.1" in text for text in said)
    folder = store.home.run_dir(runs.get(store, "judged").uid)
    files = [path for path in folder.rglob("*") if path.suffix in (".json", ".log", ".txt")]
    texts = [path.read_text("utf-8", "replace") for path in files]
    assert not any("sk-of-the-user" in text for text in [*texts, json.dumps(failed)])


def test_what_leaves_the_machine_is_said_before_the_run_starts(tf: Cli, data: None, base: str, workers: None) -> None:
    words = (
        "--dataset",
        "pairs",
        "--objective",
        "grpo",
        "--model",
        base,
        "--reward-judge",
        "https://judge.example/v1#big",
    )
    said = "Questions and answers leave this machine: the run sends them to judge.example, where big judges them."
    started = tf("train", *words, "--name", "far")
    assert started.exit_code == 0 and any(line.startswith(said) for line in started.stderr.splitlines())
    assert "" not in started.stderr.splitlines()
    assert any(note.startswith(said) for note in tf.json("preflight", *words)["notes"])


def test_a_reward_must_be_one_that_can_be_used(tf: Cli, data: None, base: str, write: Write) -> None:
    words = ("train", "--dataset", "pairs", "--objective", "grpo", "--model", base)
    assert "needs one thing that rewards its answers" in tf.error(*words)["what"]
    assert "There is no run 'none'" in tf.error(*words, "--reward", "none")["what"]
    error = tf.error(*words, "--reward", "none", "--reward-probes", "general")
    assert error["where"] == "--reward-probes" and "a reward model (reward) and probes (reward_probes)" in error["what"]
    error = tf.error(*words, "--reward-probes", "general")
    assert error["where"] == "--reward-probes" and "No probe of general asks any of the 8 prompts" in error["what"]
    assert "holds a password" in tf.error(*words, "--reward-judge", "http://a:b@c/v1#m")["what"]
    file = write("score.py", "def other(): ...\n")
    assert "defines no function score" in tf.error(*words, "--reward-file", f"{file}:score")["what"]
    assert tf.error(*words, "--beta", "0.1", "--objective", "sft")["where"] == "--beta"
