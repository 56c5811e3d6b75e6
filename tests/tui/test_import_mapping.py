"""The import form names columns: the rows are shown as they are mapped while it is typed."""

from __future__ import annotations

import json
from pathlib import Path

from store import datasets
from store.db import Store
from tests.tui.conftest import Drive


async def test_columns_are_named_with_a_live_preview(drive: Drive, store: Store, tmp_path: Path) -> None:
    datasets.create(store, "faq")
    rows = [{"Title": f"Where {n}?", "Body": f"Here {n}."} for n in range(3)]
    path = tmp_path / "faq.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    async with drive() as app:
        await app.see("There are no pairs yet.")
        await app.press("o")
        await app.see_page("ImportScreen")
        await app.type(str(path))
        await app.see("Name them under Columns, such as question=Title,answer=Body")
        app.app.screen.query_one("#dataset").focus()
        await app.type("faq")
        await app.press("ctrl+s")
        await app.see("Nothing was imported", "Name them under Columns, such as")
        await app.press("escape")
        await app.see_page("ImportScreen")
        app.app.screen.query_one("#columns").focus()
        await app.type("question=Title,answer=Bdy")
        await app.see("no column 'Bdy'", "Did you mean Body?")
        await app.press("backspace", "backspace")
        await app.type("ody")
        await app.see("3 pairs, mapped", "Where 0?", "Here 0.")
        app.app.screen.query_one("#tags").focus()
        await app.type("new faq")
        await app.press("ctrl+s")
        await app.until(lambda: len(datasets.members(store, "faq")) == 3)
    pair = datasets.members(store, "faq")[0][0]
    assert (pair.question, pair.answer, pair.tags) == ("Where 0?", "Here 0.", ("new", "faq"))


async def test_a_sample_file_is_completed_and_looked_into(drive: Drive, store: Store) -> None:
    datasets.create(store, "faq")
    async with drive() as app:
        await app.see("There are no pairs yet.")
        await app.press("o")
        await app.see_page("ImportScreen")
        await app.type("sample:prod")
        await app.see("sample:product.jsonl")
        await app.press("tab")
        await app.see("Format", "product", "pairs")
        await app.type("x")
        await app.see("There is no sample file", "product.jsonl")
