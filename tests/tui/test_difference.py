"""Two runs beside each other: curves in one chart, what differs, and a run's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.training import run_control
from store import runs, worker
from store.db import Store
from store.records import Attempt
from tests.saved_runs import a_saved_run, unchecked
from tests.tui.conftest import Drive, Driver
from tui.braille import Canvas
from tui.screens.train import report
from tui.screens.train.curves import RunCurves, training_seconds
from tui.screens.train.loss_chart import LossChart
from tui.screens.train.run_list import RunList
from tui.screens.train.screen import run_before

SIZES = [(80, 24), (120, 36), (200, 50)]


@pytest.fixture(autouse=True)
def _in_train(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "train")
    monkeypatch.setattr(run_control, "reap", lambda store: [])
    monkeypatch.setattr(report, "check", unchecked)  # it would prepare the model, and other long work waits for it
    yield


async def opened(app: Driver, name: str) -> None:
    await app.see_page("TrainScreen")
    await app.see(name)
    app.app.screen.query_one(RunList).go_to(name)
    await app.idle()
    await app.press("d")
    await app.see_page("DifferencePage")


def two_runs(store: Store) -> None:
    a_saved_run(store, "one")
    a_saved_run(store, "two", config={"lr": 5e-4, "rank": 8}, factor=0.5)


@pytest.mark.parametrize("size", SIZES)
async def test_curves_and_differences_fit_any_width(drive: Drive, store: Store, size: Any) -> None:
    two_runs(store)
    async with drive(size=size) as app:
        await opened(app, "two")
        await app.see("━━ two  loss 0.0333, validation 0.35", "╍╍ one  loss 0.0667, validation 0.7")
        await app.see("Settings that differ", "Learning rate", "1e-3", "5e-4", "LoRA rank")
        assert all(len(line) <= size[0] for line in app.text.splitlines())
        assert "◆" in app.text and "◇" in app.text
        await app.press("end")
        await app.see("recipe identity, model smollm2-135m", "(recipe: 1e-3)", "F7 shows")
        await app.press("f7")
        text = app.app.screen.query_one("#difference-text")
        await app.until(lambda: text.size.height > 50)  # all settings are laid out
        await app.press("end")
        await app.see("On top of", "a new adapter")
        if size[1] > 24:
            await app.press("home")
            await app.see("The same 12 rows of ember.", "last loss", "lowest val loss", "0.250 at 40")


async def test_another_run_is_chosen_with_the_same_key(drive: Drive, store: Store) -> None:
    two_runs(store)
    a_saved_run(store, "three", dataset="zoo")
    async with drive(size=(120, 36)) as app:
        await opened(app, "two")
        await app.see("╍╍ one")
        await app.press("d")
        await app.see("Compare two with", "one", "three")
        await app.press(*"three", "enter")
        await app.see("╍╍ three", "12 rows of zoo → 12 rows of ember", "12 added, 12 removed, 0 changed, 0 the same.")
        await app.see("tuningfork data snapshots diff")


async def test_measures_and_the_axis(drive: Drive, store: Store) -> None:
    two_runs(store)
    async with drive(size=(120, 36)) as app:
        await opened(app, "two")
        await app.see("━━ two  loss", "over steps")
        await app.press("v")
        await app.see("━━ two  drift 0.3", "╍╍ one  drift 0.3")
        await app.press("equals_sign")
        await app.see("over training time", " s")
        for name in ("general 0.5", "identity 1", "rate 0.001", "tokens/s 600", "loss 0.0333"):
            await app.press("v")
            await app.see(f"━━ two  {name}")


async def test_a_run_that_trains_is_followed(drive: Drive, store: Store) -> None:
    a_saved_run(store, "one")
    _, token = a_saved_run(store, "two", steps=(20,), state=None)
    async with drive(size=(120, 36)) as app:
        await opened(app, "two")
        await app.see("━━ two  loss 0.2, validation 0.9")
        worker.record(store, token, 21, {"loss": 0.123})
        await app.see("━━ two  loss 0.123")


async def test_one_run_alone_shows_its_settings(drive: Drive, store: Store) -> None:
    a_saved_run(store, "one")
    async with drive(size=(80, 24)) as app:
        await opened(app, "one")
        await app.see("━━ one", "Settings of one", "Every setting is that of the recipe identity.")
        assert "differ" not in app.text
        await app.press("d")
        await app.until(lambda: any("There is no other run yet." in note for note in app.notices))


async def test_a_run_that_is_removed_meanwhile_closes_the_page(drive: Drive, store: Store) -> None:
    two_runs(store)
    async with drive(size=(120, 36)) as app:
        await opened(app, "two")
        await app.see("╍╍ one")
        runs.remove(store, "one")
        await app.see_page("TrainScreen")


def test_the_run_before_and_for_the_oldest_the_one_after() -> None:
    assert [run_before(["c", "b", "a"], name) for name in "cba"] == ["b", "a", "b"]
    assert run_before(["a"], "a") is None


async def test_the_second_line_differs_without_colour(
    drive: Drive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    a_saved_run(store, "one")
    level = [(step, 0.5) for step in range(0, 61)]
    async with drive(size=(120, 36)) as app:
        await opened(app, "one")
        await app.see("━━ one")
        chart = app.app.screen.query_one(LossChart)

        def drawn(**lines: Any) -> str:
            chart.show(lines.get("line", []), (), 60, other=lines.get("other", []))
            return "\n".join("".join(s.text for s in row) for row in chart._draw(60, 12))

        full, dashed = drawn(line=level), drawn(other=level)
        row = next(line for line in full.splitlines() if "⠉" in line or "⣀" in line or "⠤" in line or "⠒" in line)
        assert " " not in row[8:].rstrip()
        gaps = next(line for line in dashed.splitlines() if set(line[8:]) & set("⠉⣀⠤⠒"))
        assert gaps[8:].rstrip().count("  ") >= 10


def test_a_dashed_canvas_leaves_out_every_second_stretch() -> None:
    canvas = Canvas(8, 1, dashed=True)
    canvas.path([(0, 0), (15, 0)])
    assert canvas.row(0) == "⠉⠉  ⠉⠉  "
    plain = Canvas(8, 1)
    plain.path([(0, 0), (15, 0)])
    assert plain.row(0) == "⠉" * 8


def an_attempt(n: int, started: int, ended: int | None) -> Attempt:
    return Attempt(n, 1, n, "here", 1, 1.0, f"t{n}", "x", None, started, started, started, ended, None)


def test_time_counts_attempts_and_not_the_pauses_between_them() -> None:
    attempts = [an_attempt(1, 1_000, 11_000), an_attempt(2, 60_000, None)]
    assert [training_seconds(attempts, at) for at in (1_000, 6_000, 60_000, 65_000)] == [0.0, 5.0, 10.0, 15.0]
    assert training_seconds([], 5) == 0.0


def test_curves_are_read_as_they_come(store: Store) -> None:
    run, token = a_saved_run(store, "one", steps=(20,), state=None)
    curves = RunCurves(run.id)
    curves.read(store)
    assert curves.by_step()["val_loss"] == [(20, 0.9)]
    worker.record(store, token, 21, {"loss": 0.1, "drift": float("nan")})
    curves.read(store)
    assert curves.by_step()["loss"][-1] == (21, 0.1) and curves.by_step()["drift"] == [(20, 0.1)]
    times = [at for at, _ in curves.by_time(runs.attempts(store, run.id))["loss"]]
    assert len(times) == 21 and times == sorted(times) and times[0] >= 0
