"""Runs and attempts: the life of a run, tokens, a resume that overwrites, and what removal keeps."""

from __future__ import annotations

import math
from typing import Any

import pytest

from store import datasets, evals, exports, pairs, runs
from store.db import Store
from store.errors import BadInput, Conflict, NotFound, Superseded
from store.records import EvalItem, PairDraft, Run


@pytest.fixture
def snapshot(store: Store) -> str:
    pairs.create(store, PairDraft("q", "a"), dataset="d")
    return datasets.freeze(store, "d").hash


def make(store: Store, snapshot: str, name: str = "r") -> Run:
    config = {"lr": 1e-3, "targets": ["q", "v"]}
    return runs.create(
        store,
        name=name,
        base="smollm2-135m",
        snapshot=snapshot[:10],
        method="qlora",
        config=config,
        config_hash="h",
        seed=7,
    )


def attempt(store: Store, run: Run, token: str = "T", **more: Any) -> Any:
    return runs.open_attempt(store, run.id, host="here", pid=1, pid_started=1.5, token=token, log_path="l", **more)


def test_a_run_that_waits_can_be_moved_to_the_beginning(store: Store, snapshot: str) -> None:
    for name in ("a", "b", "c"):
        make(store, snapshot, name)
    runs.put_first(store, "c")
    assert [run.name for run in runs.waiting(store)] == ["c", "a", "b"]
    runs.put_first(store, "b")
    assert [run.name for run in runs.waiting(store)] == ["b", "c", "a"]
    assert runs.next_queued(store) == runs.get(store, "b")
    attempt(store, runs.get(store, "b"))
    with pytest.raises(Conflict, match="Run b is"):
        runs.put_first(store, "b")


def test_a_run_begins_in_the_queue(store: Store, snapshot: str) -> None:
    run = make(store, snapshot)
    assert (run.state, run.wanted, run.step, run.snapshot, run.seed) == ("queued", "run", 0, snapshot, 7)
    assert run.config == {"lr": 1e-3, "targets": ["q", "v"]}
    assert runs.get(store, "r") == runs.by_id(store, run.id) == run == runs.next_queued(store)


def test_names(store: Store, snapshot: str) -> None:
    make(store, snapshot)
    with pytest.raises(Conflict, match="'r' already"):
        make(store, snapshot)
    for name in ("", "a b", "../up", "é", "x" * 65):
        with pytest.raises(BadInput, match="cannot be the name"):
            make(store, snapshot, name)
    with pytest.raises(NotFound) as caught:
        runs.get(store, "rr")
    assert caught.value.todo and "r" in caught.value.todo
    with pytest.raises(NotFound, match="no snapshot"):
        make(store, "ffffffffff", "other")


def test_the_whole_life(store: Store, snapshot: str) -> None:
    run = make(store, snapshot)
    opened = attempt(store, run)
    assert (opened.n, opened.ended_at) == (1, None)
    assert runs.get(store, "r").state == "starting"
    runs.set_attempt_process(store, opened.id, 4242, 9.25)
    claimed, mine = runs.claim(store, "T")
    assert (claimed.id, mine.pid, mine.pid_started) == (run.id, 4242, 9.25)
    runs.set_state(store, "T", "running", total_steps=10, env={"torch": "x"})
    runs.record(store, "T", 1, {"loss": 2.5, "lr": 1e-3})
    runs.record(store, "T", 2, {"loss": math.nan, "lr": math.inf})
    runs.say(store, "T", "half way \ud800", level="warning", percent=50)
    assert runs.beat(store, "T") == "run"
    runs.set_wanted(store, "r", "stop")
    assert runs.beat(store, "T") == "stop"
    runs.add_checkpoint(store, "T", 2, "runs/x/checkpoints/step-2", {"w": {"sha256": "s", "bytes": 3}}, val_loss=1.5)
    runs.finish(store, "T", "stopped", adapter="runs/x/adapter")
    run = runs.get(store, "r")
    assert (run.state, run.step, run.total_steps, run.adapter, run.env) == (
        "stopped",
        2,
        10,
        "runs/x/adapter",
        {"torch": "x"},
    )
    assert run.started_at and run.ended_at
    assert [(m.name, m.step, m.value) for m in runs.metrics(store, run.id)] == [
        ("loss", 1, 2.5),
        ("lr", 1, 1e-3),
        ("loss", 2, None),
        ("lr", 2, None),
    ]
    assert [m.step for m in runs.metrics(store, run.id, ["loss"], after_step=1)] == [2]
    assert runs.metrics(store, run.id, []) == []
    said = runs.events(store, run.id)
    assert [event.kind for event in said] == ["state", "log", "checkpoint", "state"]
    assert said[1].body == {"text": "half way ?", "percent": 50}
    assert runs.events(store, run.id, after_id=said[1].id, limit=1) == [said[2]]
    assert runs.checkpoints(store, run.id)[0].manifest == {"w": {"sha256": "s", "bytes": 3}}
    assert runs.live_attempts(store) == []


def test_one_live_attempt(store: Store, snapshot: str) -> None:
    run = make(store, snapshot)
    opened = attempt(store, run)
    with pytest.raises(Conflict, match="already"):
        attempt(store, run, "U")
    assert runs.live_attempt(store, run.id) == opened
    assert runs.live_attempts(store) == [opened]
    assert runs.next_queued(store) is None


@pytest.mark.parametrize("how", ["lost", "finished", "unstarted", "removed"])
def test_a_zombie_changes_nothing(store: Store, snapshot: str, how: str) -> None:
    run = make(store, snapshot)
    opened = attempt(store, run)
    if how == "lost":
        runs.mark_lost(store, opened.id, "its process is gone")
    elif how == "unstarted":
        runs.close_unstarted(store, opened.id, "no such program")
    else:
        runs.finish(store, "T", "failed", error="broke", exit="1")
        if how == "removed":
            runs.remove(store, "r")
    before = runs.all_runs(store)
    for write in (
        lambda: runs.claim(store, "T"),
        lambda: runs.set_state(store, "T", "running"),
        lambda: runs.record(store, "T", 5, {"loss": 1.0}),
        lambda: runs.say(store, "T", "I live"),
        lambda: runs.beat(store, "T"),
        lambda: runs.add_checkpoint(store, "T", 5, "p", {}),
        lambda: runs.prune_checkpoint(store, "T", 5),
        lambda: runs.finish(store, "T", "succeeded"),
    ):
        with pytest.raises(Superseded):
            write()
    assert runs.all_runs(store) == before
    assert runs.metrics(store, run.id) == runs.checkpoints(store, run.id) == []


def test_lost_is_said_once_and_can_be_resumed(store: Store, snapshot: str) -> None:
    run = make(store, snapshot)
    opened = attempt(store, run)
    runs.record(store, "T", 3, {"loss": 9.0})
    runs.mark_lost(store, opened.id, "its process is gone")
    runs.mark_lost(store, opened.id, "again")
    lost = runs.get(store, "r")
    assert (lost.state, lost.error) == ("lost", "its process is gone")
    assert [event.body["text"] for event in runs.events(store, run.id)] == ["its process is gone"]
    queued = runs.queue(store, "r")
    assert (queued.state, queued.error, queued.wanted) == ("queued", None, "run")
    second = attempt(store, run, "U", resume_from=2)
    assert (second.n, second.resume_from) == (2, 2)
    runs.record(store, "U", 3, {"loss": 4.0})
    assert [m.value for m in runs.metrics(store, run.id)] == [4.0], "a replayed step overwrites"
    assert [a.exit for a in runs.attempts(store, run.id)] == ["lost", None]


def test_an_attempt_that_ended_well_cannot_be_lost(store: Store, snapshot: str) -> None:
    opened = attempt(store, make(store, snapshot))
    runs.finish(store, "T", "succeeded")
    runs.mark_lost(store, opened.id, "late")
    assert runs.get(store, "r").state == "succeeded"


def test_the_queue_is_first_come_first_served(store: Store, snapshot: str) -> None:
    one, two = make(store, snapshot, "one"), make(store, snapshot, "two")
    assert runs.next_queued(store) == one
    runs.set_wanted(store, "one", "stop")
    stopped = runs.get(store, "one")
    assert (stopped.state, stopped.ended_at is not None) == ("stopped", True), "a queued run stops at once"
    assert runs.next_queued(store) == two
    with pytest.raises(Conflict, match="stopped"):
        attempt(store, one)
    runs.queue(store, "one")
    assert runs.next_queued(store) == two, "who comes back waits at the end"
    attempt(store, two)
    with pytest.raises(Conflict, match="starting"):
        runs.queue(store, "two")
    runs.finish(store, "T", "succeeded")
    with pytest.raises(Conflict, match="is done"):
        runs.queue(store, "two")
    assert [run.name for run in runs.all_runs(store)] == ["two", "one"]


def test_wrong_states_are_refused(store: Store, snapshot: str) -> None:
    attempt(store, make(store, snapshot))
    with pytest.raises(BadInput):
        runs.set_state(store, "T", "succeeded")
    with pytest.raises(BadInput):
        runs.finish(store, "T", "running")
    with pytest.raises(BadInput):
        runs.set_wanted(store, "r", "fly")  # type: ignore[arg-type]


def test_checkpoints_are_replaced_and_pruned(store: Store, snapshot: str) -> None:
    run = make(store, snapshot)
    attempt(store, run)
    for step in (2, 4, 4):
        runs.add_checkpoint(store, "T", step, f"p{step}", {"n": step})
    runs.prune_checkpoint(store, "T", 2)
    assert [found.step for found in runs.checkpoints(store, run.id)] == [4]
    runs.add_checkpoint(store, "T", 2, "p2 again", {})
    assert [found.path for found in runs.checkpoints(store, run.id)] == ["p2 again", "p4"]


def test_removing_a_run(store: Store, snapshot: str) -> None:
    run = make(store, snapshot)
    attempt(store, run)
    with pytest.raises(Conflict, match="still running"):
        runs.remove(store, "r")
    runs.record(store, "T", 1, {"loss": 1.0})
    runs.finish(store, "T", "succeeded")
    evals.save(store, run="r", model="run:r", set="identity", items=[EvalItem("q", "t", True)])
    exports.start(store, run="r", format="gguf", path="exports/r.gguf")
    assert runs.remove(store, "r") == store.home.run_dir(run.uid)
    assert runs.all_runs(store) == []
    with pytest.raises(NotFound):
        runs.by_id(store, run.id)
    assert [found.run for found in evals.all_evals(store)] == ["r"]
    assert [found.run for found in exports.all_exports(store)] == ["r"]
    assert datasets.snapshot(store, snapshot).rows == 1
    assert store.integrity() == []


def test_the_names_of_a_run_s_numbers(store: Store, snapshot: str) -> None:
    run, other = make(store, snapshot), make(store, snapshot, "other")
    assert runs.metric_names(store, run.id) == []
    attempt(store, run)
    attempt(store, other, "O")
    runs.record(store, "O", 1, {"elsewhere": 1.0})
    for step in (1, 2, 3):
        runs.record(store, "T", step, {"loss": 1.0, "lr": 0.1} | ({"probe_a": 0.5, "drift": 0.1} if step == 2 else {}))
    assert runs.metric_names(store, run.id) == ["drift", "loss", "lr", "probe_a"]
    assert [(m.name, m.step) for m in runs.metrics_with_prefix(store, run.id, "probe_")] == [("probe_a", 2)]
    assert runs.measured_at(store, run.id, [2, 9]) == {
        2: {"drift": 0.1, "loss": 1.0, "lr": 0.1, "probe_a": 0.5}, 9: {},
    }  # fmt: skip


def test_a_note_is_one_line_and_goes_when_it_is_empty(store: Store, snapshot: str) -> None:
    run = make(store, snapshot)
    before = runs.stamps(store)
    assert runs.set_note(store, "r", "  小学习率:\n  更稳,  faster? ").note == "小学习率: 更稳, faster?"
    assert runs.stamps(store) != before, "a list that only reads what changed must see it"
    assert runs.get(store, "r").note == "小学习率: 更稳, faster?"
    with pytest.raises(BadInput, match="501 characters; 500 are the most"):
        runs.set_note(store, "r", "x" * 501)
    assert runs.set_note(store, "r", " ").note == "" == run.note
    with pytest.raises(NotFound):
        runs.set_note(store, "none", "x")
