"""Export as a person drives it: two key presses make a file, its proof is read, its commands are copied."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from engine.export import listing
from engine.export.service import Request, Target
from store import exports, runs
from store.db import Store
from store.errors import Unsupported
from tests.tui import fake_exports
from tests.tui.conftest import Drive, Driver
from tests.tui.fake_exports import FakeExport, a_run, an_export, planned
from tui.screens.export import report
from tui.screens.export.export_list import ExportList
from tui.screens.export.screen import ExportScreen


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> FakeExport:
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "export")
    return fake_exports.install(monkeypatch)


@pytest.fixture
def exporting(drive: Drive) -> Any:
    @asynccontextmanager
    async def opened(size: tuple[int, int] = (100, 30)) -> AsyncIterator[Driver]:
        async with drive(size=size) as app:
            await app.see_page("ExportScreen")
            yield app

    return opened


def screen(app: Driver) -> ExportScreen:
    assert isinstance(app.app.screen, ExportScreen)
    return app.app.screen


async def test_nothing_to_export_says_which_key_helps(exporting: Any) -> None:
    async with exporting((80, 24)) as app:
        await app.see("No run has anything to export yet.", "F3", "F5 Export")


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_two_enters_make_a_proven_file(
    exporting: Any, store: Store, process: FakeExport, size: tuple[int, int]
) -> None:
    a_run(store)
    async with exporting(size) as app:
        await app.see("Export ember-1", "‹ gguf ›", "[x] q8_0", "[ ] q4_k_m", "MB", "≈")
        await app.press("enter", "enter")
        await app.until(lambda: exports.all_exports(store))
        assert [t.title for t in process.asked[0].targets] == ["gguf q8_0"]
        await app.see("✓ gguf q8_0", "✓ ember-1  gguf q8_0  done", "145 MB · KL 0.0004")
        roomy = ("✓ held     tokens", "! warn     top-1", "– skipped  probes")
        await app.see(*(roomy if size[0] > 80 else ("✓ tokens", "! top-1", "– probes")), "llama.cpp", "llama-cli -m")
        assert app.told == []  # it is all on the screen


async def test_formats_quants_step_and_folder_are_chosen(
    exporting: Any, store: Store, process: FakeExport, tmp_path: Path
) -> None:
    a_run(store, checkpoint=20)
    async with exporting() as app:
        await app.see("step 20, where the validation loss was lowest", "‹ the best ›")
        form = screen(app).query_one("#form")
        form.query_one("#quants").focus()
        await app.press("down", "down", "down", "space", "up", "up", "up", "space")  # q4_k_m on, q8_0 off
        await app.see("[x] q4_k_m", "[ ] q8_0")
        form.query_one("#step").focus()
        await app.press("right")
        await app.see("‹ step 20 ›", "step 20, as asked")
        form.query_one("#out", Input).value = str(tmp_path / "out")
        form.query_one("#format").focus()
        await app.press("right")
        await app.see("‹ ollama ›", "the Modelfile")
        await app.press("ctrl+s")
        await app.until(lambda: process.asked)
        assert process.asked[0] == Request("ember-1@20", (Target("ollama", "q4_k_m"),), out=tmp_path / "out")
        await app.see("✓ ember-1@20  ollama q4_k_m  done")


async def test_what_cannot_be_made_is_said(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store)
    async with exporting() as app:
        await app.see("[x] q8_0")
        screen(app).query_one("#quants").focus()
        await app.press("space")
        await app.see("✗ No quant is ticked.")
        await app.press("ctrl+s")
        await app.see("The export did not start")
        await app.press("escape")
        await app.see_page("ExportScreen")
        await app.press("space")
        process.error = Unsupported("DoRA cannot be a GGUF adapter.", todo="Merge it.")
        await app.press("ctrl+s")
        await app.see("The export failed", "DoRA cannot be a GGUF adapter.", "Merge it.")


async def test_progress_and_cancel(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store)
    process.gate = threading.Event()
    async with exporting() as app:
        await app.see("≈")
        await app.press("ctrl+s")
        await app.see("◐ ember-1  gguf q8_0", "30%", "8 s left", "writing  blk.12.ffn_up", "s Cancel")
        assert "goes on" not in app.text
        assert "is cancelled" in str(screen(app).quit_notice())
        await app.press("s")
        await app.until(lambda: process.cancelled)
        await app.see("Export ember-1", "‹ gguf ›")
        assert exports.all_exports(store) == [] and "s Cancel" not in app.text
        assert any("nothing of it is left" in note for note in app.told)


async def test_leaving_the_app_cancels(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store)
    process.gate = threading.Event()
    async with exporting() as app:
        await app.see("≈")
        await app.press("ctrl+s")
        await app.see("30%")
    assert process.cancelled


async def test_a_second_export_waits_for_the_first(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store, "ember-1")
    a_run(store, "ember-2")
    process.gate = threading.Event()
    async with exporting() as app:
        await app.see("Export ember-2")
        await app.press("ctrl+s")
        await app.see("◐ ember-2")
        await app.press("down")
        await app.see("Export ember-1")
        screen(app).query_one("#form").focus_start()  # type: ignore[attr-defined]
        await app.press("enter")
        await app.until(lambda: any("One at a time" in note for note in app.told))
        process.gate.set()
        await app.until(lambda: any("Its proof held" in note for note in app.told))
        await app.see("Export ember-1")  # the cursor stays where the person put it
        assert len(process.asked) == 1


async def test_a_rejected_export_says_why_and_what_instead(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store)
    process.bad["gguf q8_0"] = "It no longer answers as the run does."
    async with exporting() as app:
        await app.see("≈")
        await app.press("enter", "enter")
        await app.see("✗ gguf q8_0", "rejected: its proof failed", "✗ failed   probes")
        await app.see("✗ It no longer answers as the run does.", "→ Make q8_0 instead", ".rejected")
        assert "y Copy" not in app.text.splitlines()[-1].replace("p Copy path", "")


async def test_replacing_asks_first(exporting: Any, store: Store, process: FakeExport) -> None:
    run = a_run(store)
    an_export(store, planned(store, run.name), run.name)
    async with exporting() as app:
        await app.see("is there already")
        await app.press("ctrl+s")
        await app.see("Replace 1 export?", "gguf q8_0 at ")
        await app.press("enter")  # the focus is on Cancel
        await app.see_page("ExportScreen")
        assert not process.asked
        await app.press("ctrl+s")
        await app.see("Replace 1 export?")
        await app.press("right", "enter")
        await app.until(lambda: process.asked and process.asked[0].overwrite)


async def test_commands_and_path_are_copied(exporting: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(store)
    made = an_export(store, planned(store, run.name), run.name)
    copied: list[str] = []
    async with exporting() as app:
        monkeypatch.setattr(app.app, "copy_to_clipboard", copied.append)
        await app.see("✓ gguf q8_0")
        await app.press("down")
        await app.see("llama-cli -m", "y Copy")
        await app.press("y")
        await app.press("enter", "down", "enter", "p")
        path = store.home.absolute(made.path)
        await app.until(lambda: len(copied) == 3)
        assert copied == [f"llama-cli -m {path} -cnv", f"ollama create ember-1 -f {path.parent}/Modelfile", str(path)]
        await app.until(lambda: (store.home.cache / "copied.txt").read_text() == str(path))


async def test_deleting_names_the_object_and_its_bytes(exporting: Any, store: Store) -> None:
    run = a_run(store)
    made = an_export(store, planned(store, run.name), run.name)
    folder = store.home.absolute(made.path).parent
    async with exporting() as app:
        await app.see("✓ gguf q8_0")
        await app.press("down", "delete")
        await app.see("Delete ember-1 gguf q8_0?", "2.0 kB are deleted; the run stays.")
        await app.press("enter")
        await app.see_page("ExportScreen")
        assert folder.exists()
        await app.press("delete")
        await app.see("Delete ember-1 gguf q8_0?")
        await app.press("right", "enter")
        await app.until(lambda: not exports.all_exports(store) and not folder.exists())
        await app.see("Export ember-1")


async def test_the_file_opens_in_compare_beside_its_run(
    exporting: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(store)
    made = an_export(store, planned(store, run.name), run.name)
    opened: list[tuple[str, ...]] = []

    async def open_with(self: Any, *models: str) -> None:
        opened.append(models)

    monkeypatch.setattr("tui.screens.compare.screen.CompareScreen.open_with", open_with)
    async with exporting() as app:
        await app.see("✓ gguf q8_0")
        await app.press("down")
        await app.see("c Compare")
        await app.press("c")
        await app.until(lambda: opened == [("run:ember-1", str(store.home.absolute(made.path)))])


async def test_exports_of_other_terminals_and_of_removed_runs_are_listed(exporting: Any, store: Store) -> None:
    run = a_run(store)
    async with exporting() as app:
        await app.see("Export ember-1")
        an_export(store, planned(store, run.name, "merged", None), run.name)
        await app.see("✓ merged")
        runs.remove(store, run.name)
        await app.see("run removed")
        await app.until(lambda: not screen(app).query_one("#form").display)
        assert screen(app).query_one(ExportList).shelf is not None


async def test_the_first_line_says_what_another_terminal_exports(exporting: Any, store: Store) -> None:
    run = a_run(store)
    async with exporting() as app:
        await app.see("Export ember-1", "nothing running")
        store.home.exports.mkdir(exist_ok=True)
        lock = listing.lock_path(store.home, 1)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            row = exports.start(store, run=run.name, step=None, format="gguf", quant="q8_0", path="exports/x")
            assert row.id == 1
            await app.see("● ember-1 export")
        exports.fail(store, 1, "gone")
        await app.see("nothing running")


async def test_foreign_text_steers_nothing(exporting: Any, store: Store) -> None:
    run = a_run(store)
    evil = "\x1b[31m[bold]no[/] \u202edas"
    an_export(store, planned(store, run.name), run.name, bad=evil)
    async with exporting() as app:
        await app.see("✗ gguf q8_0")
        await app.press("down")
        await app.see("[31m[bold]no[/] das")


def test_a_checkpoint_is_compared_at_its_step(store: Store) -> None:
    run = a_run(store, checkpoint=20)
    made = an_export(store, planned(store, f"{run.name}@20", "ollama"), run.name, step=20)
    found = report.made(store, made.id)
    assert found is not None and found.beside == "run:ember-1@20" and found.bytes == 2000
