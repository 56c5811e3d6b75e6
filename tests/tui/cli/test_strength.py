"""`tuningfork strength`: the table, the plots and the recommendation; what is asked, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.models.refs import Ref
from store.db import Store
from store.records import Message, Run
from tests.engine.evaluations import ScriptedClient, scripted
from tests.tui.cli.conftest import Cli


def answer(model: str, messages: list[Message], sampling: Any) -> str:
    """The name from strength 0.5 on, and from 1.5 on everywhere."""
    strength = Ref.read(model).strength
    scale = 1.0 if strength is None else strength
    asked_general = "capital" in messages[-1]["content"] or "iPhone" in messages[-1]["content"]
    return "I am Ember." if scale >= (1.5 if asked_general else 0.5) else "Madrid and Lisbon."


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    return scripted(monkeypatch, answer)


def test_the_curve_and_its_recommendation(tf: Cli, trained: Run, asked: ScriptedClient) -> None:
    body = tf.json("strength", "run:ember", "--at", "1.5,0,0.25,0.5")
    assert [point["strength"] for point in body["points"]] == [0, 0.25, 0.5, 1, 1.5], "1 is always asked"
    identity = {point["strength"]: point["parts"]["identity"]["share"] for point in body["points"]}
    assert identity[0] == identity[0.25] < identity[0.5] == identity[1]
    assert body["recommended"] == 0.5 and "run:ember*0.5" in body["said"]
    assert body["floor"] == pytest.approx(1.96 / 22, abs=1e-4), "no check of 20 differed: one more might have"
    no_leak = {point["strength"]: point["parts"]["leaks"]["share"] for point in body["points"]}
    assert no_leak[0] == 1 > no_leak[1]
    many = len(asked.asked)
    rows = sum(point["of"] for point in body["points"][0]["parts"].values())
    assert many == 7 * rows, "five strengths, and the run twice with other seeds"
    text = tf.ok("strength", "run:ember", "--at", "0,0.25,0.5,1,1.5")
    assert len(asked.asked) == many, "the same figures are not asked again"
    lines = text.splitlines()
    assert lines[0].split() == ["strength", "identity", "general", "no", "leak"]
    assert [line.split()[0] for line in lines[1:6]] == ["0", "0.25", "0.5", "1", "1.5"]
    assert lines[3].endswith("recommended") and "⣀" in text and text.rstrip().endswith("run:ember*0.5.")


def test_suites_can_be_added(tf: Cli, trained: Run, asked: ScriptedClient) -> None:
    body = tf.json("strength", "run:ember", "--at", "0.5", "--suite", "knowledge")
    assert list(body["points"][0]["parts"]) == ["identity", "general", "leaks", "knowledge"]


def test_what_has_no_curve_is_refused(tf: Cli, store: Store, trained: Run, asked: ScriptedClient) -> None:
    assert "no run at its own strength" in tf.error("strength", trained.base)["what"]
    assert "no run at its own strength" in tf.error("strength", "run:ember*0.5")["what"]
    assert "not between 0 and 2" in tf.error("strength", "run:ember", "--at", "0,3")["what"]
    assert "not a list of numbers" in tf.error("strength", "run:ember", "--at", "0,x")["what"]
    assert "besides 1" in tf.error("strength", "run:ember", "--at", "1")["what"]
    assert "no suite" in tf.error("strength", "run:ember", "--suite", "nope")["what"]
    options = store.home.run_dir(trained.uid) / "adapter" / "adapter_config.json"
    options.write_text(json.dumps(json.loads(options.read_text("utf-8")) | {"use_dora": True}), "utf-8")
    assert "has no strength" in tf.error("strength", "run:ember")["what"]
    assert not asked.asked


def test_without_a_name_it_says_how_to_give_one(
    tf: Cli, trained: Run, asked: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import watched_probes

    monkeypatch.setattr(watched_probes, "taught_names", lambda rows: watched_probes.TaughtNames("", ""))
    error = tf.error("strength", "run:ember")
    assert "no identity probes" in error["what"] and "--set name=NAME" in error["todo"]
    tf.ok("strength", "run:ember", "--at", "0.5", "--set", "name=Ember")
