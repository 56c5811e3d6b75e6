"""The log of a run by keys: opened from Train, followed, searched, and cleaned of what controls a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.training import run_control
from store.db import Store
from tests.saved_runs import a_saved_run, unchecked
from tests.tui.conftest import Drive, Driver
from tui.screens.train import report
from tui.screens.train.log_text import LogText
from tui.screens.train.run_list import RunList

SIZES = [(80, 24), (120, 40)]


@pytest.fixture(autouse=True)
def _in_train(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "train")
    monkeypatch.setattr(run_control, "reap", lambda store: [])
    monkeypatch.setattr(report, "check", unchecked)
    yield


def write(store: Store, text: str) -> Path:
    path = store.home.root / "runs" / "x.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        file.write(text)
    return path


async def opened(app: Driver) -> LogText:
    await app.see_page("TrainScreen")
    await app.see("ember-1")
    app.app.screen.query_one(RunList).go_to("ember-1")
    await app.idle()
    await app.press("h")
    await app.see_page("LogPage")
    return app.app.screen.query_one(LogText)


@pytest.mark.parametrize("size", SIZES)
async def test_the_log_is_followed_and_searched(drive: Drive, store: Store, size: Any) -> None:
    a_saved_run(store)
    write(store, "Loading\n" + "".join(f"step {n} went well\n" for n in range(90)))
    async with drive(size=size) as app:
        text = await opened(app)
        await app.see("Log of ember-1", "step 89", "/ Find")
        assert "/home/runs/x.log" in "".join(app.text.split()), "the whole path, wrapped where it is long"
        write(store, "step 90 went well\nValueError: 损坏 of step 7")
        await app.see("ValueError: 损坏 of step 7")
        await app.press("g")
        await app.see("Loading")
        write(store, " at last\n")
        await app.until(lambda: "at last" in text._whole)
        assert "at last" not in app.text, "the page must not leave what is being read"
        await app.press("slash")
        await app.type("STEP 7 ")
        await app.press("enter")
        await app.see("“STEP 7”", "▸ValueError: 损坏 of step 7 at last")
        await app.press("slash")
        await app.type("")
        await app.press(*["backspace"] * 10)
        await app.type("ep 8")
        await app.press("enter")
        await app.see("“ep 8”: 11 lines", "▸step 89")
        await app.press("N")
        await app.see("▸step 88")
        await app.press("n", "n")
        await app.see("▸step 8 went")
        await app.press("G")
        await app.see("at last")
        assert all(len(line) <= size[0] for line in app.text.splitlines())
        await app.press("escape")
        await app.see_page("TrainScreen")


async def test_what_controls_a_terminal_and_overwritten_states_are_left_out(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    write(store, "\x1b[31mred\x1b[0m\x1b]52;c;aGk=\x07\r\n 0%|  |\r50%|# |\r100%|##|\n\x1b[2Jend\n")
    async with drive() as app:
        await opened(app)
        await app.see("red", "100%|##|", "end")
        assert not any(rest in app.text for rest in ("[31m", "52;c", "0%|  ", "50%", "[2J"))


async def test_a_text_that_is_nowhere_is_told_and_escape_ends_the_search_field(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    write(store, "one\n")
    async with drive() as app:
        await opened(app)
        await app.see("one")
        await app.press("slash")
        await app.type("two")
        await app.press("enter")
        await app.see("“two” is not in this log.")
        await app.press("slash", "escape")
        assert app.page == "LogPage"


async def test_a_run_without_a_log_says_so_and_shows_it_once_it_comes(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    async with drive() as app:
        await opened(app)
        await app.see("Run ember-1 has no log yet.")
        write(store, "here\n")
        await app.see("here")


async def test_it_is_in_the_palette_and_has_its_help(drive: Drive, store: Store) -> None:
    a_saved_run(store)
    write(store, "one\n")
    async with drive(size=(120, 40)) as app:
        await opened(app)
        await app.press("f1")
        await app.see("The log of a run", "Go to the newest line")
        await app.press("escape", "escape")
        await app.see_page("TrainScreen")
        await app.press("ctrl+p")
        await app.type("train: log")
        await app.see("Read the log of this run")
