"""A format that registers itself is all that the app needs to look into its files, import and write them."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input

from store import datasets
from store.db import Store
from tests.toy_format import toy_format  # noqa: F401 - a fixture
from tests.tui.conftest import Drive
from tui.widgets.choice import Choice


async def test_a_registered_format_works_in_the_dialogs(
    drive: Drive,
    store: Store,
    some_pairs: list[str],
    toy_format: None,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.qa").write_text("Q: Where?\nA: Here.\n\nQ: When?\nA: Now.")
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("o")
        await app.see_page("ImportScreen")
        await app.paste(str(tmp_path / "no"))
        await app.see("notes.qa")
        await app.press("down", "enter")
        await app.see("2 pairs, qa-text", "Where?")
        assert "qa-text" in [value for value, _ in app.app.screen.query_one("#format", Choice).options]
        assert app.app.screen.query_one("#dataset", Input).value == "notes"
        await app.press("ctrl+s")
        await app.see("D notes", "2 pairs")
        assert datasets.get(store, "notes").ready == 2
        await app.press("x")
        await app.see("Write notes to a file")
        app.app.screen.query_one("#format", Choice).value = "qa-text"
        await app.until(lambda: app.app.screen.query_one(Input).value == "notes.qa")
        app.app.screen.query_one(Input).value = str(tmp_path / "out.qa")
        await app.press("enter")
        await app.until(lambda: (tmp_path / "out.qa").exists())
    assert "Q: Where?\nA: Here." in (tmp_path / "out.qa").read_text()
