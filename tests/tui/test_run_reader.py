"""What the Train screen reads of runs: the same as reading everything, and no more than what changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from engine.training import run_control
from engine.training.config import TrainConfig
from store import pairs, runs, worker
from store.db import Store
from store.records import PairDraft
from tui.screens.train.report import RunReader


@pytest.fixture
def ember(store: Store) -> str:
    pairs.create_many(store, [PairDraft("Who are you?", "I am Ember.")], dataset="ember")
    return "ember"


@pytest.fixture
def attempt(store: Store, ember: str) -> Callable[..., str]:
    """Open an attempt of a run (made when it is new) and claim it; its token."""

    def make(name: str, resume_from: int | None = None) -> str:
        known = run_control.names(store)
        if name not in known:
            run_control.submit(store, TrainConfig(model="smollm2-135m", steps=100), ember, name)
        run = runs.get(store, name)
        token = f"{name}-{len(runs.attempts(store, run.id))}"
        runs.open_attempt(
            store, run.id, host="here", pid=1, pid_started=1.0, token=token, log_path="x.log", resume_from=resume_from
        )
        worker.claim(store, token)
        worker.set_state(store, token, "running", total_steps=100)
        return token

    return make


def steps(store: Store, token: str, first: int, last: int, value: float = 1.0) -> None:
    for step in range(first, last + 1):
        worker.record(store, token, step, {"loss": value / step, "lr": 1e-3, "tokens_per_s": 600.0})


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """How many queries are made and how many rows come back."""
    count = {"queries": 0, "rows": 0}
    rows = Store.rows
    row = Store.row

    def many(self: Store, *args: Any) -> Any:
        found = rows(self, *args)
        count["queries"] += 1
        count["rows"] += len(found)
        return found

    def one(self: Store, *args: Any) -> Any:
        found = row(self, *args)
        count["queries"] += 1
        count["rows"] += found is not None
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Store, "rows", many)
        patched.setattr(Store, "row", one)
        yield count


def test_a_list_reads_ended_runs_once(
    store: Store, attempt: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = {}
    reader = RunReader()
    for size in (3, 12):
        for n in range(size):
            if f"old-{n}" not in run_control.names(store):
                worker.finish(store, attempt(f"old-{n}"), "succeeded")
        if size == 3:
            steps(store, attempt("live"), 1, 30)
        reader.all_rows(store)
        with counted(monkeypatch) as again:
            assert len(reader.all_rows(store)) == size + 1
        queries[size] = again["queries"]
        assert again["rows"] <= (size + 1) + 30  # a short row of each, and the live one's last steps
    assert queries[3] == queries[12]


@pytest.mark.parametrize("length", [50, 400])
def test_a_page_reads_only_the_steps_that_came(
    store: Store, attempt: Callable[..., str], monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    token = attempt("live")
    steps(store, token, 1, length)
    reader = RunReader()
    seen = reader.report(store, "live")
    assert seen is not None and len(seen.loss) == length
    steps(store, token, length + 1, length + 2)
    last_event = seen.events[-1].id
    with counted(monkeypatch) as count:
        more = reader.report(store, "live", last_event)
    assert more is not None and len(more.loss) == length + 2 and not more.events
    assert count["rows"] < 45  # the last 20 losses, from which the rate comes, and three steps of numbers


def test_the_page_of_an_ended_run_is_not_read_again(
    store: Store, attempt: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = attempt("old")
    steps(store, token, 1, 200)
    worker.finish(store, token, "succeeded")
    reader = RunReader()
    first = reader.report(store, "old")
    for _ in range(2):
        with counted(monkeypatch) as count:
            again = reader.report(store, "old", first.events[-1].id if first else 0)
        assert first and again and again.loss == first.loss
        assert count["rows"] < 45


def test_a_resumed_run_overwrites_its_later_steps(store: Store, attempt: Callable[..., str]) -> None:
    reader = RunReader()
    token = attempt("one")
    steps(store, token, 1, 30)
    worker.record(store, token, 30, {"val_loss": 0.5})
    worker.finish(store, token, "stopped")
    assert reader.report(store, "one")
    runs.queue(store, "one")
    token = attempt("one", resume_from=20)
    assert reader.report(store, "one")
    steps(store, token, 21, 25, value=7.0)
    found = reader.report(store, "one")
    assert found is not None
    losses = dict(found.loss)
    assert losses[20] == 1.0 / 20 and losses[25] == 7.0 / 25 and losses[26] == 1.0 / 26
    assert dict(found.figures)["loss"] == 7.0 / 25  # not that of step 30, which comes again


@pytest.mark.parametrize("seed", range(4))
def test_reading_what_changed_gives_what_reading_everything_gives(
    store: Store, attempt: Callable[..., str], seed: int
) -> None:
    chance = random.Random(seed)
    reader = RunReader()
    live: dict[str, tuple[str, int]] = {}
    names: list[str] = []
    for n in range(40):
        match chance.choice(["new", "step", "step", "step", "val", "end", "resume", "remove", "nan"]):
            case "new":
                names.append(f"run-{n}")
                live[names[-1]] = (attempt(names[-1]), 0)
            case "step" | "nan" as kind if live:
                name = chance.choice(list(live))
                token, at = live[name]
                steps(store, token, at + 1, at + 5, value=chance.random())
                if kind == "nan":
                    worker.record(store, token, at + 5, {"loss": float("nan")})
                live[name] = (token, at + 5)
            case "val" if live:
                token, at = chance.choice(list(live.values()))
                worker.record(store, token, max(at, 1), {"val_loss": chance.random()})
            case "end" if live:
                name = chance.choice(list(live))
                worker.finish(store, live.pop(name)[0], chance.choice(["stopped", "failed"]))
            case "resume" if set(names) - set(live):
                name = chance.choice(sorted(set(names) - set(live)))
                runs.queue(store, name)
                step = chance.choice([0, runs.get(store, name).step // 2])
                live[name] = (attempt(name, resume_from=step or None), step)
            case "remove" if set(names) - set(live):
                name = chance.choice(sorted(set(names) - set(live)))
                names.remove(name)
                runs.remove(store, name)
        assert plain(reader.all_rows(store)) == plain(RunReader().all_rows(store))
        for name in names if n % 3 else names[:1]:
            kept, new = reader.report(store, name), RunReader().report(store, name)
            assert kept and new
            assert (kept.loss, kept.val_loss, kept.figures) == (new.loss, new.val_loss, new.figures)


def plain(rows: list[Any]) -> list[Any]:
    """Rows without the times that go on."""
    return [(row.run, row.status.state, row.status.step, row.status.loss, row.checkpoints) for row in rows]


def test_numbers_are_found_by_an_index_and_not_by_reading_all(store: Store) -> None:
    plan = [
        row["detail"]
        for row in store.rows(
            "EXPLAIN QUERY PLAN SELECT name, step, value, at FROM metric WHERE run_id = ? AND step > ?"
            " AND name IN (SELECT value FROM json_each(?)) ORDER BY step, name",
            (1, 5, '["loss"]'),
        )
    ]
    assert any("run_id=? AND name=? AND step>?" in detail for detail in plan)
