"""The list of a run's checkpoints by keys: read, compared, exported, made the result, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.training import run_control, saved_checkpoints
from store import runs
from store.db import Store
from tests.saved_runs import a_saved_run, spoil, unchecked
from tests.tui.conftest import Drive, Driver
from tui.screens.export.export_form import ExportForm
from tui.screens.train import report
from tui.screens.train.run_list import RunList

SIZES = [(80, 24), (120, 36), (200, 50)]


@pytest.fixture(autouse=True)
def _in_train(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "train")
    monkeypatch.setattr(run_control, "reap", lambda store: [])
    monkeypatch.setattr(report, "check", unchecked)  # it would prepare the model, and other long work waits for it
    monkeypatch.setattr(saved_checkpoints, "reap", lambda store: [])
    yield


async def opened(app: Driver, name: str = "ember-1") -> None:
    await app.see_page("TrainScreen")
    await app.see(name)
    app.app.screen.query_one(RunList).go_to(name)
    await app.idle()
    await app.press("C")
    await app.see_page("CheckpointsPage")


def place(store: Store, step: int) -> Path:
    return store.home.run_dir(runs.get(store, "ember-1").uid) / "checkpoints" / f"step-{step}"


@pytest.mark.parametrize("size", SIZES)
async def test_the_list_fits_any_width(drive: Drive, store: Store, size: Any) -> None:
    a_saved_run(store)
    spoil(place(store, 20))
    async with drive(size=size) as app:
        await opened(app)
        await app.see("ember-1: 3 checkpoints", "run:ember-1 is the finished adapter.", "✗", "damaged")
        await app.see("The finished adapter, from step 60", "o Compare  x Export")
        lines = app.text.splitlines()
        (best,) = [line.split() for line in lines if line.split()[:2] == ["✓", "40"]]
        figures = ["0.500", "95%", "62%", *(["0.200", "0.100"] if size[0] > 80 else [])]
        assert best == ["✓", "40", "now", *figures, "6.4", "kB", "best"]
        await app.press("down", "down")
        await app.see("Step 40, saved just now", "w Keep as result")
        await app.see("identity 95%   general 62%   drift 0.200")
        await app.press("down")
        await app.see("adapter_model.safetensors is not what was saved. It cannot be made")


async def test_the_result_is_chosen_and_undone(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    async with drive(size=(120, 36)) as app:
        await opened(app)
        await app.see("✓   40")
        await app.press("down", "down")
        await app.see("Step 40, saved")
        assert "u Undo" not in app.text
        await app.press("w")
        await app.see("run:ember-1 is step 40, chosen by you.")
        assert runs.get(store, "ember-1").result_step == 40
        await app.press("u")
        await app.see("run:ember-1 is the finished adapter.")
        assert runs.get(store, "ember-1").result_step is None
        await app.press("w")
        await app.see("chosen by you")
        await app.press("home", "w")
        await app.see("run:ember-1 is the finished adapter.")
        await app.press("escape")
        await app.see_page("TrainScreen")


async def test_a_damaged_one_is_refused(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    spoil(place(store, 40))
    async with drive(size=(120, 36)) as app:
        await opened(app)
        await app.see("damaged")
        await app.press("down", "down", "w")
        await app.until(lambda: any("step 40 is damaged" in note for note in app.notices))
        assert runs.get(store, "ember-1").result_step is None


async def test_removing_names_it_and_its_size_and_spares_the_result(drive: Drive, store: Store) -> None:
    a_saved_run(store, state="stopped")
    async with drive(size=(120, 36)) as app:
        await opened(app)
        await app.see("run:ember-1 is step 60.")
        await app.press("delete")
        await app.until(lambda: any("step 60 is the result" in note for note in app.notices))
        assert app.page == "CheckpointsPage"
        await app.press("down", "down")
        await app.see("Step 20, saved")
        await app.press("delete")
        await app.see("Remove the checkpoint at step 20?", "ember-1@20: 6.", "kB are deleted for good.", "Cancel")
        await app.press("enter")  # the focus is on Cancel
        await app.see_page("CheckpointsPage")
        assert place(store, 20).is_dir()
        await app.press("delete")
        await app.see("Remove the checkpoint")
        await app.press("right", "enter")
        await app.see("ember-1: 2 checkpoints")
        assert not place(store, 20).exists()


async def test_a_run_that_trains_can_only_be_looked_at(drive: Drive, store: Store) -> None:
    _, token = a_saved_run(store, steps=(20,), state=None)
    async with drive(size=(120, 36)) as app:
        await opened(app)
        await app.see("1 checkpoint", "o Compare")
        for word in ("Take as result", "Remove"):
            assert word not in app.text.splitlines()[-1]
        runs.finish(store, token, "stopped")
        await app.see("Del Remove")


async def test_a_run_is_resumed_from_an_earlier_step_after_asking(
    drive: Drive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_saved_run(store, state="stopped")
    monkeypatch.setattr(run_control, "start", lambda store, name: None)
    async with drive(size=(120, 36)) as app:
        await opened(app)
        await app.see("✓   40")
        await app.press("down")
        await app.see("Step 40, saved", "r Resume")
        await app.press("r")
        await app.see("Resume ember-1 from step 40?", "1 later checkpoint (step 60)", "Cancel")
        await app.press("enter")
        await app.see_page("CheckpointsPage")
        assert runs.get(store, "ember-1").state == "stopped"
        await app.press("r")
        await app.see("Resume ember-1 from step 40?")
        await app.press("right", "enter")
        await app.see_page("TrainScreen")
        run = runs.get(store, "ember-1")
        assert (run.state, run.resume_from) == ("queued", 40)


async def test_what_another_terminal_changes_is_seen(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    async with drive(size=(120, 36)) as app:
        await app.see("ember-1")
        saved_checkpoints.make_result(store, "ember-1", 40)
        runs.set_note(store, "ember-1", "written elsewhere")
        await app.see("done, loss 0.0667 · written")
        await opened(app)
        await app.see("run:ember-1 is step 40, chosen by you.")
        saved_checkpoints.remove(store, "ember-1", 20)
        await app.see("2 checkpoints")


async def test_compare_opens_with_the_step(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    async with drive(size=(120, 36)) as app:
        await opened(app)
        await app.see("✓   40")
        await app.press("down", "down")
        await app.see("Step 40, saved")
        await app.press("o")
        await app.see_page("CompareScreen")
        await app.see("smollm2-135m · base", "ember-1@40")


async def test_export_opens_with_the_step(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    async with drive(size=(120, 36)) as app:
        await opened(app)
        await app.see("✓   40")
        await app.press("down", "down")
        await app.see("Step 40, saved")
        await app.press("x")
        await app.see_page("ExportScreen")
        await app.see("Export ember-1", "‹ step 40 ›")
        assert app.app.screen.query_one(ExportForm).request().run == "ember-1@40"
        await app.press("f3")
        await app.see_page("CheckpointsPage")


async def test_a_run_without_any_says_so(drive: Drive, store: Store) -> None:
    a_saved_run(store, steps=(), state="failed")
    async with drive(size=(80, 24)) as app:
        await opened(app)
        await app.see("ember-1 has saved nothing.", "go back")


async def test_the_cursor_stays_beside_what_was_removed(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    async with drive(size=(120, 36)) as app:
        await opened(app)
        await app.see("✓   40")
        await app.press("down", "down")
        await app.see("Step 40, saved")
        await app.press("delete")
        await app.see("Remove the checkpoint at step 40?", "are deleted for good. It is the", "run's best one.")
        await app.press("right", "enter")
        await app.see("2 checkpoints", "Step 20, saved")
