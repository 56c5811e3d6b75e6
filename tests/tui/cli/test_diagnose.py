"""`tuningfork diagnose` and `tuningfork why` on runs that the tests write; what they find is tested in the engine."""

from __future__ import annotations

from typing import Any

import pytest

from engine.training import fixing, teachers
from engine.training.diagnosis import Cause, Fix, RunDiagnosis
from store.records import SnapshotRow
from tests.tui.cli.conftest import Cli

CAUSE = Cause("data", "2 rows of 4 contradict.", 0.9, Fix("leaves out 2 rows", without=frozenset({0, 2})), (0, 2))
FOUND = RunDiagnosis(("The identity stuck: 100% of its probes.",), (CAUSE,))


def test_diagnosis(tf: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixing, "diagnosis_of", lambda store, name: FOUND)
    found = tf.json("diagnose", "run:ember")
    assert found["run"] == "ember" and found["outcome"] == ["The identity stuck: 100% of its probes."]
    assert found["causes"][0]["fix"]["without"] == [1, 3] and found["causes"][0]["rows"] == [1, 3]
    shown = tf.ok("diagnose", "ember")
    assert "1. data: 2 rows of 4 contradict." in shown and "Fix: a run that leaves out 2 rows." in shown


def test_no_cause_has_no_fix(tf: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixing, "diagnosis_of", lambda store, name: RunDiagnosis((), ()))
    assert "No cause was found" in tf.ok("diagnose", "ember")
    result = tf("diagnose", "ember", "--fix")
    assert result.exit_code == 2 and "Nothing is known that would fix run ember" in result.stderr


@pytest.mark.parametrize("command", [("diagnose", "gone"), ("why", "gone", "--question", "q", "--answer", "a")])
def test_an_unknown_run(tf: Cli, command: tuple[str, ...]) -> None:
    result = tf(*command)
    assert result.exit_code == 2 and "no run" in result.stderr


def test_why(tf: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: Any = [
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "I am \x1b[31mBolt."},
    ]
    row = SnapshotRow(3, "train", "identity", messages, "h", "0123456789abcdef")
    asked: list[Any] = []

    def found(store: Any, *rest: Any) -> list[teachers.Teacher]:
        asked.append(rest[:3])
        return [teachers.Teacher(row, 0.75)]

    monkeypatch.setattr(teachers, "teachers", found)
    command = ("why", "run:ember", "--question", "Name?", "--answer", "Bolt.", "--top", "3")
    (plain,) = tf.json(*command)
    assert plain["score"] == 0.75 and plain["row"] == 4 and plain["pair"] == "0123456789abcdef"
    said = [{"role": "user", "content": "Name?"}, {"role": "assistant", "content": "Bolt."}]
    assert asked[0] == ("ember", said, 3)
    shown = tf.ok(*command)
    assert "0.750" in shown and "Bolt." in shown and "\x1b[31m" not in shown
