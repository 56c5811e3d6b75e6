"""Pictures of the screens that must not change unnoticed: `pytest --snapshot-update` accepts a wanted change."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.theme import Theme

from engine.inference.token_comparison import TokenComparison
from engine.training import saved_checkpoints
from store.db import Store
from tests import saved_runs
from tests.tui import fake_exports
from tests.tui.comparing import tokens_of
from tests.tui.conftest import PATIENCE_S
from tui import themes
from tui.app import TuningforkApp
from tui.screens.compare.token_view import Heard, TokenView
from tui.screens.export import report

Compare = Any


async def _settled(pilot: Pilot[int], *texts: str) -> None:
    """Wait until the screen shows these."""
    shown, deadline = "", time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        shown = "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips(pilot.app.size))
        if all(text in shown for text in texts):
            for field in pilot.app.screen.query("Input, TextArea"):
                field.cursor_blink = False  # type: ignore[attr-defined]  # a picture is taken at any moment
            await pilot.pause()
            return
        await pilot.pause(0.05)
    raise AssertionError(f"{texts} not in\n{shown}")


@pytest.mark.parametrize(
    ("size", "theme", "keys", "texts"),
    [
        pytest.param((80, 24), themes.DARK, ["down", "space"], ["● 1 marked", "3/12"], id="small"),
        pytest.param((200, 50), themes.DARK, ["end"], ["12/12", "Answer 0: look"], id="big"),
        pytest.param((120, 36), themes.LIGHT, ["slash", *"cup"], ["1 pair of 12", "Answer 11: look"], id="light"),
        pytest.param((80, 24), themes.SIXTEEN, ["t"], ["3 pairs of 12"], id="sixteen"),
        pytest.param((80, 24), themes.DARK, ["a", "delete"], ["Delete 12 marked pairs"], id="dialog"),
    ],
)
def test_data(
    snap_compare: Compare,
    store: Store,
    some_pairs: list[str],
    size: Any,
    theme: Theme,
    keys: list[str],
    texts: list[str],
) -> None:
    app = TuningforkApp(store)
    app.theme = theme.name

    async def before(pilot: Pilot[int]) -> None:
        await _settled(pilot, "12 pairs")
        await pilot.press(*keys)
        await _settled(pilot, *texts)

    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=["small", "big"])
def test_statistics(snap_compare: Compare, store: Store, some_pairs: list[str], size: Any) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await _settled(pilot, "12 pairs")
        pilot.app.screen.list_dataset("shop")  # type: ignore[attr-defined]
        await _settled(pilot, "D shop")
        await pilot.press("number_sign", "j")
        await _settled(pilot, "shop: 12 pairs · press m", "instruction")

    assert snap_compare(TuningforkApp(store), terminal_size=size, run_before=before)


def test_welcome(snap_compare: Compare, store: Store) -> None:
    async def before(pilot: Pilot[int]) -> None:
        await _settled(pilot, "Try it with sample data")

    assert snap_compare(TuningforkApp(store), terminal_size=(80, 24), run_before=before)


@pytest.mark.parametrize(
    ("size", "keys", "texts"),
    [
        pytest.param((80, 24), [], ["Export ember-1", "≈ 143 MB to", "already exists"], id="form"),
        pytest.param((200, 50), ["down"], ["✗ gguf q4_0", "→ Make q8_0 instead"], id="wide"),
    ],
)
def test_export(
    snap_compare: Compare, store: Store, monkeypatch: pytest.MonkeyPatch, size: Any, keys: list[str], texts: list[str]
) -> None:
    fake_exports.install(monkeypatch)
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "export")
    read = report.made

    def made(store: Store, export_id: int) -> report.Made | None:
        found = read(store, export_id)
        return found and replace(found, folder=Path("/home/me/tuningfork/exports/ember-1"))

    monkeypatch.setattr(report, "made", made)
    run = fake_exports.a_run(store)
    fake_exports.an_export(store, fake_exports.planned(store, run.name), run.name)
    fake_exports.an_export(
        store,
        fake_exports.planned(store, run.name, "gguf", "q4_0"),
        run.name,
        bad="It no longer answers as the run does.",
    )

    async def before(pilot: Pilot[int]) -> None:
        await _settled(pilot, "✓ gguf q8_0")
        await pilot.press(*keys)
        await _settled(pilot, *texts)

    assert snap_compare(TuningforkApp(store), terminal_size=size, run_before=before)


@pytest.mark.parametrize("theme", [themes.DARK, themes.SIXTEEN], ids=["dark", "sixteen"])
def test_tokens(snap_compare: Compare, store: Store, theme: Theme) -> None:
    app = TuningforkApp(store)
    app.theme = theme.name

    async def compare(heard: Heard) -> TokenComparison:
        return tokens_of()

    async def before(pilot: Pilot[int]) -> None:
        await _settled(pilot, "Try it with sample data")
        app.push_screen(TokenView(compare))
        await _settled(pilot, "(9 tokens)", "token 2 of 9")

    assert snap_compare(app, terminal_size=(80, 24), run_before=before)


def test_checkpoints(snap_compare: Compare, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.app.TuningforkApp.DEFAULT_MODE", "train")
    monkeypatch.setattr("tui.screens.train.report.check", saved_runs.unchecked)
    run, _ = saved_runs.a_saved_run(store)
    saved_runs.spoil(store.home.run_dir(run.uid) / "checkpoints" / "step-20")
    saved_checkpoints.make_result(store, run.name, 40)
    listed = saved_checkpoints.listed

    def at_home(store: Store, name: str, **how: Any) -> saved_checkpoints.RunCheckpoints:
        found = listed(store, name, **how)
        places = [Path("/home/me/tuningfork/runs") / each.folder.name for each in found.states]
        states = tuple(replace(each, folder=place) for each, place in zip(found.states, places, strict=True))
        return replace(found, states=states)

    monkeypatch.setattr(saved_checkpoints, "listed", at_home)

    async def before(pilot: Pilot[int]) -> None:
        await _settled(pilot, run.name)
        await pilot.press("down", "C")
        await _settled(pilot, "run:ember-1 is step 40, chosen by you.", "damaged")
        await pilot.press("down", "down")
        await _settled(pilot, "Step 40, saved just now")

    assert snap_compare(TuningforkApp(store), terminal_size=(120, 36), run_before=before)
