"""The models page by keys: what is listed, adding, preparing with progress and an end, removing, refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.core.child import ChildStopped
from engine.models import listed_models
from store import models
from store.db import Store
from tests.saved_runs import a_saved_run
from tests.tui.conftest import Drive, Driver

SIZES = [(80, 24), (120, 40)]


async def opened(app: Driver) -> None:
    await app.see("F2 Data")
    await app.press("alt+m")
    await app.see_page("ModelsPage")
    await app.see("smollm2-135m")


@pytest.mark.parametrize("size", SIZES)
async def test_an_address_is_added_and_removed(drive: Drive, store: Store, size: Any) -> None:
    a_saved_run(store)
    async with drive(size=size) as app:
        await opened(app)
        await app.see("2 models.", "run:ember-1", "n Add", "Esc Back")
        assert "Del Remove" not in app.text, "the default model cannot be removed"
        await app.press("n")
        await app.see("Add a model")
        await app.type("http://127.0.0.1:9/v1#little")
        await app.press("enter")
        await app.see("http://127.0.0.1:9/v1#little", "remote", "Del Remove")
        assert [model.ref for model in models.all_models(store)] == ["http://127.0.0.1:9/v1#little"]
        assert all(len(line) <= size[0] for line in app.text.splitlines())
        await app.press("delete")
        await app.see("Remove http://127.0.0.1:9/v1#little?")
        await app.press("enter")  # the focus is on Cancel
        await app.see_page("ModelsPage")
        assert models.all_models(store)
        await app.press("delete")
        await app.see("Remove http")
        await app.press("right", "enter")
        await app.see("2 models.")
        assert not models.all_models(store)
        await app.press("escape")
        await app.see_page("DataScreen")


async def test_what_cannot_be_added_is_refused_in_the_words_of_the_command_line(drive: Drive, store: Store) -> None:
    async with drive() as app:
        await opened(app)
        for typed, said in (("run:ember-1", "does not need to be added"), ("/no/such/folder", "/no/such/folder")):
            await app.press("n")
            await app.see("Add a model")
            await app.type(typed)
            await app.press("enter")
            await app.see("The model was not added", said)
            await app.press("escape")
            await app.see_page("ModelsPage")
        assert not models.all_models(store)


async def test_a_broken_one_is_listed_with_the_reason(drive: Drive, store: Store, tmp_path: Path) -> None:
    models.upsert(store, str(tmp_path / "gone"), "base", {})
    async with drive(size=(120, 40)) as app:
        await opened(app)
        await app.press("j")
        await app.see("✗", "broken", str(tmp_path / "gone"), "Del Remove")


async def test_preparing_shows_how_far_it_is_and_can_be_stopped(
    drive: Drive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def slowly(store: Store, ref: str, on_line: Callable[[str], None], stop: Callable[[], bool]) -> Any:
        on_line("reading tensor 7 of 9")
        while not stop():
            time.sleep(0.01)
        stopped.set()
        raise ChildStopped

    monkeypatch.setattr(listed_models, "add", slowly)
    async with drive() as app:
        await opened(app)
        await app.see("Enter Prepare")
        await app.press("enter")
        await app.see("Preparing smollm2-135m", "reading tensor 7 of 9", "s Stop")
        assert "n Add" not in app.text
        await app.press("escape")
        await app.see("Stop preparing smollm2-135m?")
        await app.press("escape")
        await app.see_page("ModelsPage")
        await app.press("s")
        await app.see("Stopped. The next try continues where this one stopped.")
        assert stopped.is_set()
        await app.see("n Add")
        stopped.clear()
        await app.press("enter")
        await app.see("Preparing smollm2-135m")
        await app.press("escape")
        await app.see("Stop preparing")
        await app.press("enter")
        await app.until(stopped.is_set)
        await app.until(lambda: app.page != "ModelsPage")


async def test_the_palette_opens_it_and_its_help_is_there(drive: Drive, store: Store) -> None:
    async with drive(size=(120, 40)) as app:
        await app.see("F2 Data")
        on = len(app.app.screen_stack)
        await app.press("ctrl+p")
        await app.type("models")
        await app.see("List the models")
        await app.press("enter")
        await app.see_page("ModelsPage")
        await app.press("alt+m")
        assert app.page == "ModelsPage" and len(app.app.screen_stack) == on + 1
        await app.press("f1")
        await app.see("A run is removed in Train (F3).")
