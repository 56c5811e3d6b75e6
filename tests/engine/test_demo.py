"""The demo's own part: the order of things, its progress, its scores, an interrupt, a run that fails.
Real jobs and a real store, with stand-ins for training and the chat server; the real thing is e2e/test_demo.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import demo
from engine.core import process
from engine.evaluation.probes import filled
from engine.inference.client import Done
from engine.training import run_control
from store import datasets, evals, runs
from store.db import Store
from store.errors import ServerError, WorkerError
from store.home import Home
from store.records import Probe
from tests.engine import fake_worker


class FakeClient:
    """Answers like a base that says nothing of use, and a tuned model that knows its name and all facts."""

    servers: list[str] = []

    @classmethod
    async def connect(cls, home: Home, *, start: bool = True) -> FakeClient:
        if not start and "running" not in cls.servers:
            raise ServerError("Nobody answers.")
        cls.servers.append("running")
        return cls()

    async def load(self, model: str) -> dict[str, Any]:
        return {"model": model}

    async def complete(self, model: str, messages: Any, sampling: Any, lane: str | None = None) -> Done:
        assert sampling.temperature == 0 and sampling.max_tokens == 64
        good = model.startswith("run:") or "Paris" in messages[-1]["content"]
        return Done("I am Ember, made by Northwind Labs. Paris, 7 and 24." if good else "Neptune.")

    async def close(self) -> None:
        self.servers.append("closed")


@pytest.fixture
def plan(fake_base: Path, monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[demo.Plan]:
    """The demo's plan on a base that nothing can load."""
    FakeClient.servers = []
    monkeypatch.setattr(process, "command", fake_worker.argv)
    monkeypatch.setattr(demo, "Client", FakeClient)
    monkeypatch.setattr(demo, "shutdown", lambda home: FakeClient.servers.append("shut down"))
    yield replace(demo.Plan(), model=str(fake_base), changes={"steps": 4, "recipe": "quick"})
    for run in runs.all_runs(store):
        for attempt in runs.attempts(store, run.id):
            if attempt.pid in process._children:  # only what this test process started
                process.kill_group(attempt.pid, attempt.pid_started)


def test_a_turn_of_the_loop(home: Home, store: Store, plan: demo.Plan) -> None:
    said: list[str] = []
    found = demo.run_demo(home, said.append, plan)
    assert found["run"] == "demo" and found["home"] == str(home.root) and found["train_s"] > 0
    assert found["identity"] == {"base": 0, "tuned": 20, "of": 20}
    assert found["retention"] == {"base": 0, "tuned": 3, "of": 20}
    assert len(found["questions"]) == 40
    assert found["questions"][0] == {
        "set": "identity",
        "question": "May I ask your name?",
        "base": "Neptune.",
        "tuned": "I am Ember, made by Northwind Labs. Paris, 7 and 24.",
        "base_passed": False,
        "tuned_passed": True,
    }
    assert json.loads(json.dumps(found)) == found
    assert any(line.startswith("step 4 of 4, loss 1.000") for line in said), said
    assert FakeClient.servers[-2:] == ["closed", "shut down"]


def test_what_it_trained_on_and_what_it_keeps(home: Home, store: Store, plan: demo.Plan) -> None:
    demo.run_demo(home, lambda _: None, plan)
    rows = datasets.snapshot_rows(store, runs.get(store, "demo").snapshot)
    assert {row.kind for row in rows} == {"identity", "instruction"} and len(rows) == 152
    assert not [row for row in rows if "{{" in json.dumps(row.messages)]
    assert "My name is Ember." in {row.messages[-1]["content"] for row in rows}
    kept = evals.all_evals(store)
    assert sorted((each.set, each.run) for each in kept if each.run) == [
        ("sample:identity", "demo"),
        ("sample:retention", "demo"),
    ]
    assert len(kept) == 4


def test_a_second_demo_in_one_home_takes_the_next_name(home: Home, store: Store, plan: demo.Plan) -> None:
    names = [demo.run_demo(home, lambda _: None, plan)["run"] for _ in range(2)]
    assert names == ["demo", "demo-2"]
    assert runs.get(store, "demo").snapshot == runs.get(store, "demo-2").snapshot


def test_a_server_that_was_there_stays(home: Home, plan: demo.Plan) -> None:
    FakeClient.servers.append("running")
    demo.run_demo(home, lambda _: None, plan)
    assert "shut down" not in FakeClient.servers and FakeClient.servers[-1] == "closed"


@pytest.mark.parametrize(("recipe", "why", "resumes"), [("error", "of no use", False), ("crash", "first line", True)])
def test_a_failed_run_ends_the_demo_with_its_reason(
    home: Home, plan: demo.Plan, recipe: str, why: str, resumes: bool
) -> None:
    with pytest.raises(WorkerError, match=why) as caught:
        demo.run_demo(home, lambda _: None, replace(plan, changes={"steps": 4, "recipe": recipe}))
    assert caught.value.where == "run demo, failed"
    assert (f"tuningfork runs resume demo --home {home.root}" in str(caught.value.todo)) is resumes
    assert FakeClient.servers == []


def test_an_interrupt_leaves_the_run_going_and_says_how_to_stop_it(home: Home, store: Store, plan: demo.Plan) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("step"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(home, say, replace(plan, changes={"steps": 600, "recipe": "steps"}))
    assert run_control.status(store, "demo").state == "running"
    assert said[-2:] == [
        f"Run demo keeps running. Watch it: tuningfork runs watch demo --home {home.root}",
        f"Stop it: tuningfork runs stop demo --home {home.root}",
    ]
    run_control.stop(store, "demo", now=True)


def test_placeholders_are_filled_everywhere() -> None:
    probe = Probe("s", "Are you {{name}}?", ("{{name}}",), ("not {{author}}",), "You are {{name}}.")
    [done] = filled([probe], {"name": "Ember", "author": "Northwind Labs"})
    assert done == Probe("s", "Are you Ember?", ("Ember",), ("not Northwind Labs",), "You are Ember.")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, "step 3"),
        ({"total_steps": 9, "loss": 1.5}, "step 3 of 9, loss 1.500"),
        ({"total_steps": 9, "loss": 1.5, "rate": 0.51, "seconds_left": 11.6},
         "step 3 of 9, loss 1.500, 0.5 steps/s, 12 s left"),
    ],
)  # fmt: skip
def test_progress_says_what_it_knows(known: dict[str, Any], words: str, submit: Callable[..., Any]) -> None:
    unknown = {"total_steps": None, "loss": None, "rate": None, "seconds_left": None}
    status = run_control.RunStatus(
        run=submit("quick"), state="running", step=3, elapsed=1.0, hung=False, phase="", **(unknown | known)
    )
    assert demo.progress(status) == words
