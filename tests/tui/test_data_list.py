"""The Data screen lists, searches, filters, marks: every way to find a pair."""

from __future__ import annotations

import re
import sqlite3
import threading
import time

import pytest

from store import datasets, pairs, votes
from store.db import Store
from store.records import PairDraft, PreferenceDraft, Turn
from tests.tui.conftest import Drive
from tui.screens.data import finder
from tui.screens.data.dataset_list import DatasetList
from tui.screens.data.pair_table import PairTable
from tui.screens.data.screen import DataScreen


def listed(app) -> list[str]:
    """The rows of the table that are on the screen."""
    return [line for line in app.text.splitlines() if "uestion " in line and "changed" not in line]


async def test_lists_pairs_newest_first_with_status_signs(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs", "1/12")
        rows = listed(app)
        assert len(rows) == 12
        assert "Question 11" in rows[0] and "✗" in rows[0] and "Question 0:" in rows[-1]
        assert "✓" in rows[-1] and "○" in rows[1]


async def test_search_as_you_type_and_escape_step_by_step(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("slash")
        await app.type("lam")
        await app.see("1 pair of 12", "lamp")
        assert len(listed(app)) == 1
        await app.press("escape")
        assert isinstance(app.app.focused, PairTable)
        await app.press("escape")
        await app.see("12 pairs")
        assert app.app.is_running


async def test_search_that_finds_nothing_names_the_key_that_helps(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("slash")
        await app.type("zebra")
        await app.see("Nothing matches “zebra”", "Esc")
        await app.press("escape")
        await app.press("escape")
        await app.see("12 pairs")


async def test_filters_by_status_and_kind(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("t")
        await app.see("3 pairs of 12", "t draft")
        await app.press("t")
        await app.see("6 pairs of 12", "t ready")
        await app.press("t", "t")
        await app.see("12 pairs", "any status")
        await app.press("O", "O")
        await app.see("1 pair of 12", "O identity")
        await app.press("escape")
        await app.see("12 pairs", "any kind")


async def test_the_picker_lists_a_dataset_and_remembers_it(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("D")
        await app.see_page("Pick")
        await app.see("care", "4", "shop", "6 ready of 12")
        await app.type("car")
        await app.press("enter")
        await app.see("4 pairs of 12", "D care")
        await app.until(lambda: app.app.settings.dataset == "care")
    async with drive() as app:
        await app.see("4 pairs of 12", "D care")


async def test_the_picker_says_what_else_a_dataset_holds(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    votes.import_preferences(
        store, [PreferenceDraft((Turn("user", "Who?"),), "Ember.", "SmolLM.", {})], dataset="likes"
    )
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("D")
        await app.see("likes", "1 preference")
        assert "0 ready of 0" not in app.text


async def test_a_new_dataset_is_empty_and_says_how_to_fill_it(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("D")
        await app.see("List which pairs?")
        await app.type("fresh")
        await app.see("Create dataset “fresh”")
        await app.press("enter")
        await app.see("The dataset fresh has no pairs yet.", "Write a new pair", "Import pairs from a file")


async def test_a_wide_window_shows_datasets_and_the_whole_pair(drive: Drive, some_pairs: list[str]) -> None:
    async with drive(size=(160, 45)) as app:
        await app.see("All pairs", "care", "shop", "Question 11: where is my cup?", "revision 1", "shop (train)")
        await app.press("end")
        await app.see("care (train), shop (train)")
        app.app.screen.query_one(DatasetList).focus()
        await app.press("down")
        await app.see("4 pairs of 12", "D care")


@pytest.mark.parametrize("columns", [80, 100, 120, 139, 140, 200])
async def test_every_filter_is_whole_at_every_width_also_after_a_resize(
    drive: Drive, some_pairs: list[str], columns: int
) -> None:
    for begin in (columns, 160, 80):
        async with drive(size=(begin, 30)) as app:
            await app.see("12 pairs")
            await app.pilot.resize_terminal(columns, 30)
            await app.until(lambda: re.search(r"  O (any )?kind\b", app.text) is not None)


async def test_three_panes_begin_where_the_list_is_no_narrower_than_at_80(drive: Drive, some_pairs: list[str]) -> None:
    widths = {}
    for columns in (80, 120, 139, 140):
        async with drive(size=(columns, 30)) as app:
            await app.see("12 pairs")
            assert app.app.screen.query_one("#side").display == (columns >= 140)
            assert app.app.screen.query_one("#view").display == (columns >= 110)
            widths[columns] = app.app.screen.query_one("#list").size.width
    assert widths[120] >= 68 and widths[139] >= 80 and widths[140] >= 64, widths


async def test_a_tall_window_shows_the_pair_below_and_v_hides_it(drive: Drive, some_pairs: list[str]) -> None:
    async with drive(size=(80, 40)) as app:
        await app.see("Answer 11: look under the cup.", "revision 1")
        await app.press("v")
        await app.until(lambda: "revision 1" not in app.text)
    async with drive(size=(80, 24)) as app:
        await app.see("12 pairs")
        assert "revision 1" not in app.text
        await app.press("v")
        await app.see("revision 1")


async def test_marks_by_space_stretch_and_all(drive: Drive, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("space", "space")
        await app.see("● 2 marked", "3/12")
        await app.press("shift+down", "J")
        await app.see("● 5 marked")
        await app.press("a")
        await app.see("● 12 marked")
        await app.press("escape")
        await app.until(lambda: "marked" not in app.text)


async def test_another_process_writes_and_the_list_follows(drive: Drive, store: Store, some_pairs: list[str]) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("down", "down")
        other = Store.open(store.home)
        pairs.create(other, PairDraft("Question 99: written elsewhere?", "Yes."), dataset="shop")
        other.close()
        await app.see("13 pairs", "Question 99", "4/13")  # the cursor stayed on its pair


async def test_a_list_asked_for_just_before_a_reload_is_the_one_shown(
    drive: Drive, store: Store, some_pairs: list[str]
) -> None:
    """A reload follows each change of the store, and may come before the work on the list is begun."""
    async with drive() as app:
        await app.see("12 pairs")
        screen = app.app.screen
        assert isinstance(screen, DataScreen)
        screen.list_dataset("care")
        screen.reload()
        await app.see("4 pairs", "D care")
        first = pairs.get(store, some_pairs[0])
        screen.find(screen.query_now, want_id=first.id)
        screen.reload()
        await app.until(lambda: screen.table.current_id == first.id)


async def test_foreign_text_is_drawn_literally(drive: Drive, store: Store) -> None:
    wild = "Question \x1b]52;c;SGVsbG8=\x07 [/foo] [red]x[/] \u202etxet 日本語" + "w" * 200_000
    pairs.create(
        store, PairDraft(wild, wild, tags=("[/b]",), source={"file": "[i]\x1b[31m.json", "line": 3}), dataset="[d] 名"
    )
    async with drive(size=(160, 45)) as app:
        await app.see("[/foo] [red]x[/]", "日本語", "#[/b]", "[d] 名", "from [i][31m.json:3")
        shown = app.app.screen.query_one("PairView Static").visual.plain
        assert shown.count("more characters)") == 2
        assert "\x1b" not in app.text and "\u202e" not in app.text
        await app.press("D")
        await app.see("List which pairs?", "[d] 名")
        await app.press("escape", "enter")
        await app.see("too long to edit here")


async def test_120000_rows_open_and_scroll_quickly(drive: Drive, store: Store) -> None:
    with store.write() as conn:  # straight into the table: making them properly takes ten times as long
        conn.execute(
            "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 119999)"
            " INSERT INTO pair (uid, question, answer, status, content_hash, created_at, updated_at)"
            " SELECT 'u' || n, 'Question ' || n || ' of many', 'answer ' || n, 'ready', 'h' || n, 1, 1 FROM n"
        )
        conn.execute("INSERT INTO pair_fts (pair_fts) VALUES ('rebuild')")
    async with drive() as app:
        await app.see("120,000 pairs")
        screen = app.app.screen
        assert isinstance(screen, DataScreen)
        began = time.process_time()
        await app.press("end")
        await app.see("Question 0 of many")
        assert time.process_time() - began < 1.5
        began = time.process_time()
        await app.press("slash")
        await app.type("119999")
        await app.see("1 pair of 120,000")
        assert time.process_time() - began < 3
        assert len(screen.table._kept) < 5_000


async def test_the_first_of_a_long_list_are_there_before_the_whole_of_it(
    drive: Drive, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs.create_many(store, [PairDraft(f"Question {n}", "lamp" if n % 2 else "desk") for n in range(200)])
    whole, released = finder.find, threading.Event()

    def slow(*args, **kwargs):  # type: ignore[no-untyped-def]
        released.wait(20)
        return whole(*args, **kwargs)

    monkeypatch.setattr(finder, "MANY", 100)
    monkeypatch.setattr(finder, "find", slow)
    async with drive() as app:
        table = app.app.screen.query_one(PairTable)
        await app.see("Question 199", "listing all")
        assert len(table.ids) == finder.WINDOW
        released.set()
        await app.see("200 pairs")
        await app.press("end", "space")
        marked = table.ids[-1]
        released.clear()
        await app.press("slash")
        await app.type("lamp")
        await app.see("Question 199", "listing all")
        await app.until(lambda: len(table.ids) == finder.WINDOW and len(listed(app)) < 64 and "desk" not in app.text)
        assert table.chosen() == [marked], "a mark below the first rows still counts"
        table.action_mark_all()
        assert table.marked == {marked}, "not all are listed yet, so not all can be marked"
        released.set()
        await app.see("100 pairs of 200")
        assert table.marked == set(), "the marked pair is not in the new list"


def test_the_store_is_read_in_threads_only(some_pairs: list[str], store: Store, monkeypatch) -> None:
    """Reading on the event loop's thread would freeze the keys while another program writes."""
    import asyncio
    import threading

    from tui.app import TuningforkApp

    main, seen = threading.current_thread(), []
    plain = Store.rows

    def rows(self: Store, sql: str, params=()) -> list[sqlite3.Row]:
        seen.append(threading.current_thread() is main)
        return plain(self, sql, params)

    monkeypatch.setattr(Store, "rows", rows)

    async def look() -> None:
        app = TuningforkApp(store)
        async with app.run_test() as pilot:
            for key in ("down", "t", "t", "space", "1", "u"):
                await pilot.press(key)
                await pilot.pause(0.1)

    asyncio.run(look())
    assert seen and not any(seen)


async def test_the_search_line_takes_filters_completes_them_and_shows_what_is_wrong(
    drive: Drive, some_pairs: list[str]
) -> None:
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("slash")
        await app.type("status:rej")
        await app.see("no status 'rej'", "Character 1: Did you mean rejected")
        assert len(listed(app)) == 12, "the list stays while the query cannot be read"
        await app.until(lambda: app.app.screen.query_one("#search")._suggestion == "status:rejected")
        await app.press("right")
        await app.until(lambda: "✗" in listed(app)[0] and "pairs of 12" in app.text)
        assert all("✗" in row for row in listed(app))
        await app.press("escape", "escape")
        await app.see("12 pairs")


_WHOLE = re.compile(" t (any )?status  O (any )?kind")


@pytest.mark.parametrize("width", [50, 60, 80, 120, 200])
async def test_no_filter_is_cut_off(drive: Drive, store: Store, some_pairs: list[str], width: int) -> None:
    long = "a-data-set-with-a-really-long-name"
    datasets.add(store, datasets.create(store, long).name, some_pairs)
    async with drive(size=(width, 24)) as app:
        await app.see("12 pairs")
        app.app.remember(dataset=long)
        await app.press("D")
        await app.see_page("Pick")
        await app.type(long[:12])
        await app.press("enter")
        await app.until(lambda: app.page == "DataScreen")
        # Waited for: a text that grows is drawn once before its line is laid out again.
        await app.until(lambda: any(" D a-da" in line and _WHOLE.search(line) for line in app.text.splitlines()))
