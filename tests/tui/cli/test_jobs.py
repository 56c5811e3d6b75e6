"""`tuningfork jobs` over training runs and other jobs alike, as real processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core import jobs, process
from store import jobs as kept
from store.db import Store
from tests.engine.fake_job import MODULE
from tests.tui.cli.conftest import Cli

Submit = Callable[..., int]


@pytest.fixture
def submit(store: Store, tmp_path: Path) -> Iterator[Submit]:
    def start(mode: str, **request: Any) -> int:
        return jobs.submit(store, "count", "numbers", MODULE, {"mode": mode, "marks": str(tmp_path), **request}).id

    yield start
    for job in kept.unfinished(store):
        process.kill_group(job.pid or 0, job.pid_started or 0.0)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_runs_and_jobs_are_one_list(
    tf: Cli, facts: str, base: str, workers: None, submit: Submit, store: Store
) -> None:
    assert "Nothing is running." in tf("jobs", "list").stderr
    run = tf.json("train", "--dataset", facts, "--model", base, "--name", "one", "--steps", "200")
    waiting = tf.json("train", "--dataset", facts, "--model", base, "--name", "two", "--steps", "2")
    number = submit("sleep", steps=400)
    listed = tf.json("jobs", "list")
    assert [(job["job"], job["kind"], job["name"]) for job in listed] == [
        ("run:one", "training", "one"), ("run:two", "training", "two"), (str(number), "count", "numbers"),
    ]  # fmt: skip
    assert run["run"] == "one" and waiting["run"] == "two" and listed[1]["state"] == "queued"
    text = tf.ok("jobs", "list")
    assert "run:one" in text and "training" in text and "queued" in text
    assert tf.json("jobs", "stop", "run:two")["state"] == "stopped"
    assert tf.json("jobs", "stop", "one", "--now")["state"] in ("lost", "stopped")  # the name alone will do
    assert tf.json("jobs", "stop", str(number))["state"] == "stopped"
    assert tf.json("jobs", "list") == []
    assert {job["job"] for job in tf.json("jobs", "list", "--all")} == {"run:one", "run:two", str(number)}


def test_watching_a_run_ends_with_it(tf: Cli, facts: str, base: str, workers: None) -> None:
    tf.json("train", "--dataset", facts, "--model", base, "--name", "one", "--steps", "3")
    found = lines(tf.ok("jobs", "watch", "run:one", "--json"))
    assert (found[-1]["type"], found[-1]["state"], found[-1]["progress"]["done"]) == ("job", "succeeded", 3)
    assert any(line["type"] == "event" for line in found) and any(line["type"] == "progress" for line in found)


def test_watching_a_job_passes_on_what_it_says_and_how_it_ended(tf: Cli, submit: Submit) -> None:
    result = tf("jobs", "watch", str(submit("count")))
    assert result.exit_code == 0 and "It counted." in result.stderr and "is done" in result.stdout
    failed = tf("jobs", "watch", str(submit("fail")), "--json")
    assert failed.exit_code == 1 and lines(failed.stdout)[-1]["error"] == "This model cannot do that."
    assert json.loads(failed.stderr.splitlines()[-1])["what"] == "This model cannot do that."


@pytest.mark.parametrize(("job", "what"), [("7", "no job 7"), ("none", "none"), ("run:none", "none")])
def test_what_is_not_there_is_named(tf: Cli, job: str, what: str) -> None:
    for verb in ("watch", "stop"):
        assert what in str(tf.error("jobs", verb, job)["what"])
