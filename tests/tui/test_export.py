"""Export as a user drives it: two key presses make a file, its verification is read, its
commands are copied."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from engine.export import service, targets
from engine.export.service import Request, Target
from store import exports, jobs, runs
from store.db import Store
from store.errors import Unsupported
from tests import in_thread
from tests.toy_target import ToyTarget
from tests.tui import fake_exports
from tests.tui.conftest import Drive, Driver
from tests.tui.fake_exports import FakeExport, a_run, an_export, planned
from tui.screens.export import report
from tui.screens.export.export_list import ExportList
from tui.screens.export.screen import ExportScreen


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeExport]:
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "export")
    fake = fake_exports.install(monkeypatch)
    yield fake
    fake.gate.set()
    in_thread.join(fake.threads)


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
async def test_two_enters_make_a_verified_file(
    exporting: Any, store: Store, process: FakeExport, size: tuple[int, int]
) -> None:
    a_run(store)
    async with exporting(size) as app:
        await app.see("Export ember-1", "‹ gguf ›", "[x] q8_0", "[ ] q4_k_m", "MB", "≈")
        await app.press("enter", "enter")
        await app.until(lambda: exports.all_exports(store))
        assert [t.title for t in process.asked[0].targets] == ["gguf q8_0"]
        await app.see("✓ gguf q8_0", "✓ ember-1  gguf q8_0  done", "145 MB · KL 0.0004")
        roomy = ("✓ passed   tokens", "! warn     top-1", "– skipped  probes")
        await app.see(*(roomy if size[0] > 80 else ("✓ tokens", "! top-1", "– probes")), "llama.cpp", "llama-cli -m")
        assert app.notices == []  # it is all on the screen


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
        await app.see("✗ No quant is selected.")
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
    process.gate.clear()
    async with exporting() as app:
        await app.see("≈")
        await app.press("ctrl+s")
        await app.see("◐ ember-1  gguf q8_0", "30%", "8 s left", "writing  blk.12.ffn_up", "s Cancel")
        await app.see("● export ember-1 30%")  # the first line of every screen
        assert "The export ember-1 continues without this window." in app.app.quit_notices()
        await app.press("s")
        await app.until(lambda: process.cancelled)
        await app.see("Export ember-1", "‹ gguf ›", "nothing running")
        assert exports.all_exports(store) == [] and "s Cancel" not in app.text
        await app.until(lambda: any("nothing of it is left" in note for note in app.notices))


async def test_leaving_the_app_leaves_the_export(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store)
    process.gate.clear()
    async with exporting() as app:
        await app.see("≈")
        await app.press("ctrl+s")
        await app.see("30%")
    assert not process.cancelled and jobs.unfinished(store)
    async with exporting() as app:  # another terminal, or the same one later
        await app.see("● export ember-1 30%", "◐ ember-1  gguf q8_0")
        process.gate.set()
        await app.see("✓ ember-1  gguf q8_0  done")


async def test_a_second_export_waits_for_the_first(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store, "ember-1")
    a_run(store, "ember-2")
    process.gate.clear()
    async with exporting() as app:
        await app.see("Export ember-2")
        await app.press("ctrl+s")
        await app.see("◐ ember-2")
        await app.press("down")
        await app.see("Export ember-1")
        screen(app).query_one("#form").focus_start()  # type: ignore[attr-defined]
        await app.press("enter")
        await app.see("◐ ember-1  waits", "It starts when the export before it has ended.", "● export ember-2 30% +1")
        process.gate.set()
        # ember-2, which is not watched
        await app.until(lambda: any("It passed its verification" in note for note in app.notices))
        await app.see("✓ ember-1  gguf q8_0  done")  # the cursor stays where it was put
        assert [request.run for request in process.asked] == ["ember-2", "ember-1"]


async def test_the_list_of_jobs_shows_and_stops_them(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store)
    process.gate.clear()
    async with exporting() as app:
        await app.see("≈")
        await app.press("ctrl+s")
        await app.see("30%")
        await app.press("f2")
        await app.see_page("DataScreen")
        await app.pilot.click("Masthead", offset=(95, 0))
        await app.see_page("JobsDialog")
        await app.press("escape")
        await app.see_page("DataScreen")
        await app.press("alt+j")
        await app.see_page("JobsDialog")
        await app.see("● export ember-1 gguf q8_0", "writing 30% · 8 s left", "✓ training ember-1", "s stops a job")
        await app.press("enter")  # to the screen that shows it
        await app.see_page("ExportScreen")
        await app.press("alt+j")
        await app.see_page("JobsDialog")
        await app.press("s")
        await app.see("– export ember-1", "stopped now")
        assert process.cancelled
        await app.press("escape")
        await app.see_page("ExportScreen")


async def test_a_target_that_is_added_can_be_chosen(
    exporting: Any, store: Store, process: FakeExport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(targets.REGISTRY, "toy", ToyTarget())
    a_run(store)
    async with exporting() as app:
        await app.see("≈")
        screen(app).query_one("#format").focus()
        await app.press("left", "left")  # before the first is the last
        await app.see("‹ toy ›", "a toy", "[x] t1", "[ ] t2", "11 B")
        await app.press("ctrl+s")
        await app.see("✓ ember-1  toy t1  done")
        assert process.asked[0].targets == (Target("toy", "t1"),)


async def test_a_rejected_export_says_why_and_what_instead(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store)
    process.bad["gguf q8_0"] = "It no longer answers as the run does."
    async with exporting() as app:
        await app.see("≈")
        await app.press("enter", "enter")
        await app.see("✗ gguf q8_0", "rejected: it failed its verification", "✗ failed   probes")
        await app.see("✗ It no longer answers as the run does.", "→ Make q8_0 instead", ".rejected")
        assert "y Copy" not in app.text.splitlines()[-1].replace("p Copy path", "")


async def test_replacing_asks_first(exporting: Any, store: Store, process: FakeExport) -> None:
    run = a_run(store)
    an_export(store, planned(store, run.name), run.name)
    async with exporting() as app:
        await app.see("already exists")
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
        await app.press("enter", "down", "enter", "Y")
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
        await app.see("o Compare")
        await app.press("o")
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
        assert screen(app).query_one(ExportList).listed_run is not None


async def test_an_export_of_another_terminal_is_shown(exporting: Any, store: Store, process: FakeExport) -> None:
    a_run(store)
    process.gate.clear()
    async with exporting() as app:
        await app.see("Export ember-1", "nothing running")
        service.submit(store, Request("ember-1", (Target("merged"),)))
        await app.see("● export ember-1 30%", "◐ ember-1  merged")
        process.gate.set()
        await app.see("nothing running", "✓ merged")


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


def test_the_choice_of_a_quant_says_what_will_really_be_in_it() -> None:
    from dataclasses import replace

    from engine.export.planning import Planned
    from tui.screens.export.export_form import _note

    quant = Planned(Target("gguf", "q4_k_m"), Path("m.gguf"), Path(), 1_000_000, 0, kl=None, taken=False)
    assert "mostly" not in _note(quant).plain
    assert "mostly Q5_0" in _note(replace(quant, mostly="mostly Q5_0")).plain


async def test_what_auto_tried_is_a_table(exporting: Any, store: Store) -> None:
    run = a_run(store)
    made = an_export(store, planned(store, run.name, quant="q4_k_m"), run.name)
    base = {"bytes": 105_000_000, "tokens_per_s": 80.0, "failed": [], "passed": True, "mostly": "mostly Q5_0"}
    table = [
        base | {"quant": "q4_k_m", "importance": True, "kl": 0.0404, "recommended": True},
        base | {"quant": "q4_1", "importance": False, "kl": 1.15, "recommended": False}
        | {"passed": False, "failed": ["answers"]},
    ]  # fmt: skip
    with store.write() as conn:
        report = made.verification | {"tried": table, "importance": True}
        conn.execute("UPDATE export SET proof = ? WHERE id = ?", (json.dumps(report), made.id))
    async with exporting((120, 40)) as app:
        await app.see("ember-1")
        await app.press("down")
        await app.see("2 quants tried:", "✓  q4_k_m with a matrix  105 MB  KL 0.0404", "80/s", "failed answers")
        await app.see("gguf q4_k_m (with a matrix)")


def test_a_file_that_is_deleted_meanwhile_has_no_size(tmp_path: Path) -> None:
    assert report._size(tmp_path / "gone") == 0
    (tmp_path / "there").write_bytes(b"four")
    assert report._size(tmp_path) == 4
