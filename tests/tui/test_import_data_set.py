"""The import form with a Hugging Face data set: a folder is previewed, one of the hub is not fetched while typed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from textual.widgets import Input

from store import datasets
from store.db import Store
from tests.engine.hf_folders import SAVED, make
from tests.tui.conftest import Drive


async def test_a_saved_folder_is_previewed_and_keeps_its_splits(drive: Drive, store: Store, tmp_path: Path) -> None:
    folder = make(tmp_path / "made", SAVED) / "saved"
    datasets.create(store, "saved")
    async with drive(size=(130, 50)) as app:
        await app.see("There are no pairs yet.")
        await app.press("o")
        await app.see_page("ImportScreen")
        await app.paste(f"{folder}/")
        # the reader takes seconds to start
        await app.until(lambda: "A Hugging Face data set" in app.text, timeout_s=60)
        await app.see("A Hugging Face data set with the splits train (5 rows), validation (3 rows), extra (2 rows)")
        await app.see("One 0?", "One is 0.", "Not read: n (5 rows).")
        await app.press("ctrl+s")
        await app.until(lambda: len(datasets.members(store, "saved")) == 10, timeout_s=60)
        await app.see("Imported", "validation (3 rows)")
    assert Counter(split for _, split in datasets.members(store, "saved")) == {"train": 7, "val": 3}


async def test_a_data_set_of_the_hub_is_not_fetched_while_it_is_typed(drive: Drive, store: Store) -> None:
    datasets.create(store, "faq")
    async with drive() as app:
        await app.see("There are no pairs yet.")
        await app.press("o")
        await app.see_page("ImportScreen")
        await app.paste("hf:org/name:config")
        await app.see("A data set of the Hugging Face hub.", "Code of a data set is")
        assert app.app.screen.query_one("#dataset", Input).value == "name"
        await app.press("space", "b")
        await app.see("is not a config")
