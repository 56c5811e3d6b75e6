"""`tuningfork evaluate` and `evaluations`: start, list, show, rows, write, resume, remove; what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.evaluations import ScriptedClient, scripted
from tests.tui.cli.conftest import Cli


@pytest.fixture
def scripted_client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    return scripted(monkeypatch, lambda model, messages, sampling: messages[-1]["content"].rpartition(" ")[2])


@pytest.fixture
def cities(tf: Cli, write: Callable[[str, str | bytes], str]) -> str:
    """A dataset with twelve rows to train on and twelve to test."""
    for split, numbers in (("train", range(12)), ("test", range(12, 24))):
        rows = [{"instruction": f"Say it back: city {n}", "output": f"{n} is a city"} for n in numbers]
        tf.ok("data", "import", write(f"{split}.json", json.dumps(rows)), "--dataset", "cities", "--split", split)
    return "cities"


def test_an_evaluation_from_start_to_report(
    tf: Cli, cities: str, base: str, scripted_client: ScriptedClient, tmp_path: Path
) -> None:
    said = tf.json("evaluate", "--model", base, "--dataset", cities)
    part = said["parts"][0]
    assert part["rows"] == 12 and part["type"] == "short" and said["sides"][0]["model"] == base
    f1 = next(metric for metric in part["metrics"] if metric["name"] == "token_f1")
    assert f1["values"][0]["value"] == pytest.approx(0.5), "one word of three, without the article"
    text = tf.ok("evaluations", "show", "1")
    assert "Token F1" in text and "0.500 (0.500 to 0.500)" in text and "Note: 12 rows are few" in text
    assert "12/12" in tf.ok("evaluations", "list") and tf.json("evaluations", "list")[0]["state"] == "done"
    assert len(tf.json("evaluations", "rows", "1")) == 12
    out = tmp_path / "r.html"
    assert tf.json("evaluations", "write", "1", "--out", str(out))["path"] == str(out) and out.read_text("utf-8")
    assert tf.error("evaluations", "write", "1", "--out", str(out))["where"] == str(out)
    assert "is complete" in tf.error("evaluations", "resume", "1")["what"]
    tf.ok("evaluations", "remove", "1", "--yes")
    assert "no evaluation 1" in tf.error("evaluations", "show", "1")["what"]


def test_ways_say_whether_to_tune(tf: Cli, cities: str, base: str, scripted_client: ScriptedClient) -> None:
    said = tf.json("evaluate", "--model", base, "--dataset", cities, "--ways")
    assert len(said["ways"]) == 3 and said["advice"] == (
        f"A prompt is not better than the base beyond chance ({base} has Token F1 0.500): tuning is worth trying."
    )
    assert "cost of 1,000" in tf.ok("evaluations", "show", "1", "--price-in", "1", "--price-out", "2")


def test_what_cannot_be_evaluated_is_refused(tf: Cli, facts: str, base: str) -> None:
    assert tf.error("evaluate", "--model", base)["where"] == "--dataset"
    assert "No ready pair" in tf.error("evaluate", "--model", base, "--dataset", facts)["what"]
    assert "no dataset" in tf.error("evaluate", "--model", base, "--dataset", "nope")["what"].lower()
    assert "no suite" in tf.error("evaluate", "--model", base, "--suite", "nope")["what"]
    assert "no metric" in tf.error("evaluate", "--model", base, "--dataset", facts, "--split", "train",
                                   "--metrics", "blue")["what"]  # fmt: skip


def test_texts_leave_only_after_a_yes(tf: Cli, cities: str, scripted_client: ScriptedClient) -> None:
    result = tf("evaluate", "--model", "http://far.invalid/v1#big", "--dataset", cities)
    assert result.exit_code == 2 and "leave this machine for http://far.invalid/v1#big" in result.stderr
    assert not scripted_client.asked
    tf.ok("evaluate", "--model", "http://far.invalid/v1#big", "--dataset", cities, "--yes")
    assert len(scripted_client.asked) == 12 and not scripted_client.scored


def test_sides_of_an_evaluation_that_broke_can_be_continued(
    tf: Cli, cities: str, base: str, scripted_client: ScriptedClient
) -> None:
    scripted_client.fails_at = 5
    error = tf.error("evaluate", "--model", base, "--dataset", cities, code=1)
    assert "went away" in error["what"]
    assert "5 of 12" in tf.error("evaluations", "show", "1")["what"]
    assert tf.json("evaluations", "resume", "1")["parts"][0]["rows"] == 12 and len(scripted_client.asked) == 13
