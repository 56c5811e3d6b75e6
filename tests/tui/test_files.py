"""Files in and out through the app, and the first run: welcome, samples, import, export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.widgets import Input

from store import datasets, pairs
from store.db import Store
from tests.tui.conftest import Drive, Driver
from tui.screens.data import file_preview
from tui.screens.data.import_dialog import ImportScreen
from tui.widgets.choice import Choice
from tui.widgets.path_field import PathField


def write(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows), "utf-8")
    return path


async def fill_path(app: Driver, path: Path) -> None:
    await app.see_page("ImportScreen")
    await app.paste(str(path))


async def test_an_empty_home_is_welcomed_and_the_samples_lead_to_training(drive: Drive, store: Store) -> None:
    async with drive() as app:
        await app.see_page("WelcomeScreen")
        await app.see("Try it with sample data", "Import a file", "Write the first pair")
        await app.press("enter")
        await app.see("Name your model", "Ember", "Northwind Labs")
        await app.press("delete", "enter", "enter")
        await app.see("Type a name")
        await app.type("Nova")
        await app.press("enter", "enter")
        await app.see("The sample data is loaded", "who Nova is")
        await app.until(lambda: app.app.focused and app.app.focused.id == "train")
        await app.press("enter")
        await app.until(lambda: app.app.current_mode == "train")
        await app.press("f2")
        await app.see("D identity")
    found = datasets.get(store, "identity")
    assert found.ready == found.pairs > 60
    assert [
        pair for pair, _ in datasets.members(store, "identity") if "Nova" in pair.answer and pair.kind == "identity"
    ]
    assert [pair for pair, _ in datasets.members(store, "identity") if pair.kind == "instruction"]
    assert not pairs.search_ids(store, "Ember")


async def test_escape_leaves_the_welcome_but_never_quits(drive: Drive) -> None:
    async with drive() as app:
        await app.see_page("WelcomeScreen")
        await app.press("1")
        await app.see("Name your model")
        await app.press("escape")
        await app.see_page("WelcomeScreen")
        await app.press("escape")
        await app.see("There are no pairs yet.", "Load the sample data")
        await app.press("escape", "escape")
        assert app.app.is_running
        await app.press("n")
        await app.see("New pair")


async def test_the_samples_action_opens_the_samples_themselves(drive: Drive, store: Store) -> None:
    async with drive() as app:
        await app.see_page("WelcomeScreen")
        await app.press("escape", "ctrl+e")
        await app.see("Name your model")
        await app.press("escape")
        await app.see("There are no pairs yet.")
        assert not datasets.all_datasets(store)
        await app.press("ctrl+e")
        await app.see("Name your model")
        await app.press("enter", "enter")
        await app.see("The sample data is loaded", "Look at the pairs")
        await app.press("escape")
        await app.see("D identity")
        await app.press("ctrl+e")
        await app.see("Name your model")
        await app.press("enter", "enter")
        await app.see("were there")  # twice loaded is once there
        await app.press("enter")
        await app.until(lambda: app.app.current_mode == "train")


async def test_imports_a_file_found_by_completion(drive: Drive, store: Store, tmp_path: Path) -> None:
    rows = [{"instruction": f"What is {n}?", "output": f"It is {n}."} for n in range(30)]
    deep = tmp_path / ("long" * 25)  # longer than a line: what tells paths apart is at their ends
    (deep / "inner").mkdir(parents=True)
    write(deep / "inner" / "numbers.json", rows)
    async with drive() as app:
        await app.press("2")
        await fill_path(app, deep / "inn")
        await app.see("…", "long/inner/")
        await app.press("down", "enter")
        await app.see("numbers.json")
        await app.press("down", "enter")
        await app.see("30 pairs, alpaca", "What is 0?", "It is 0.")
        assert app.app.screen.query_one("#dataset", Input).value == "numbers"
        await app.press("ctrl+s")
        await app.see_page("DataScreen")
        await app.see("30 pairs", "D numbers")
        assert "30 new pairs in numbers." in app.notices
        await app.press("u")
        await app.see("There are no pairs yet.")


async def test_placeholders_get_a_field_each(drive: Drive, store: Store, some_pairs: list[str], tmp_path: Path) -> None:
    row = {"instruction": "Who are you?", "output": "I am {{name}} by {{maker}}, {{ x }}."}
    file = write(tmp_path / "who.json", {"placeholders": ["maker"], "data": [row]})
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("o")
        await fill_path(app, file)
        await app.see("{{name}}", "{{maker}}", "Ember", "{{x}}", "leave empty to keep it as text")
        await app.press("f8")
        await app.see("Nothing was imported", "{{maker}}")
        await app.press("enter")
        fields = list(app.app.screen.query_one("#variables").query(Input))
        fields[1].focus()
        await app.paste("Acme [/x]")
        await app.press("ctrl+s")
        await app.see("Imported", "1 new pair in who.", "{{x}} (1 row) stays as text.")
        await app.press("enter")
        await app.see("I am Ember by Acme [/x], {{ x }}.")
    assert pairs.page(store, pairs.search_ids(store, "acme"))[0].kind == "identity"


async def test_what_became_of_rows_and_fields_is_shown(drive: Drive, store: Store, some_pairs, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question": "Good?", "answer": "Yes.", "id": 1},
        {"question": "Bad?", "answer": "No.", "label": False},
        {"question": "Better?", "chosen": "This.", "rejected": "That."},
    ]
    file = write(tmp_path / "mixed.json", rows)
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("o")
        await fill_path(app, file)
        await app.see("1 pair, 1 preference and 1 feedback row, prompt-completion", "Not read: id (1 row).", "Bad?")
        app.app.screen.query_one("#split", Choice).value = "test"
        await app.press("ctrl+s")
        await app.see("Imported", "1 new preference and 1 new feedback row", "Not read: id (1 row).")
        await app.press("enter")
        await app.see("D mixed", "Good?")
    assert [split for _, split in datasets.members(store, "mixed")] == ["test"]


async def test_rejected_rows_are_shown_with_the_report(drive: Drive, store: Store, some_pairs, tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text('{"instruction": "Good?", "output": "Yes."}\n{"instruction": [7], "output": "x"}\nnot json\n')
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("o")
        await fill_path(app, file)
        await app.see("1 pair, alpaca, 2 rows that cannot be used")
        await app.press("ctrl+s")
        await app.see(
            "Imported, with rows left out", "1 new pair in mixed.", "mixed.jsonl:2", "mixed.jsonl:3", "import-"
        )
        await app.press("enter")
        await app.see("D mixed", "Good?")
    assert list(store.home.logs.glob("import-*.jsonl"))


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("missing.json", None, "no such file"),
        ("empty.json", b"", "empty"),
        ("latin.json", b'[{"instruction": "\xe9", "output": "x"}]', "UTF-8"),
        ("strange.json", b'[{"a": 1}]', "not a known format"),
    ],
)
async def test_what_is_wrong_with_a_file_is_said_before_anything_happens(
    drive: Drive, store: Store, some_pairs: list[str], tmp_path: Path, name: str, body: bytes | None, message: str
) -> None:
    if body is not None:
        (tmp_path / name).write_bytes(body)
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("o")
        await fill_path(app, tmp_path / name)
        await app.until(lambda: message.casefold() in app.text.casefold())
        await app.press("tab", "tab", "tab")
        await app.paste("there")
        await app.press("ctrl+s")
        await app.see("Nothing was imported")
        await app.press("escape", "escape", "escape")
        await app.see_page("DataScreen")
    assert pairs.count(store) == 12
    assert len(datasets.all_datasets(store)) == 2


async def test_an_import_can_be_stopped_and_writes_nothing(
    drive: Drive, store: Store, some_pairs, tmp_path: Path
) -> None:
    file = tmp_path / "big.jsonl"
    line = '{"instruction": "Question %d?", "output": "Answer"}\n'
    file.write_text("".join(line % n for n in range(60_000)))
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("o")
        await fill_path(app, file)
        await app.see("60,000 pairs")
        await app.press("ctrl+s")
        await app.see("rows,", "per second. Esc stops it")
        await app.press("escape")
        await app.until(lambda: "Stopped. Nothing was imported." in app.notices)
        assert isinstance(app.app.screen, ImportScreen)
        await app.press("escape")
        await app.see("12 pairs")
    assert pairs.count(store) == 12


async def test_writes_a_dataset_and_asks_before_overwriting(
    drive: Drive, store: Store, some_pairs, tmp_path: Path
) -> None:
    target = tmp_path / "care.jsonl"
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("D")
        await app.see("List which pairs?")
        await app.type("care")
        await app.press("enter")
        await app.see("D care")
        for again in (False, True):
            await app.press("x")
            await app.see("Write care to a file")
            app.app.screen.query_one(Input).value = str(target)
            await app.press("enter")
            if again:
                await app.see("Overwrite the file?", "exists already")
                await app.press("right", "enter")
            await app.see_page("DataScreen")
            rows = [json.loads(line) for line in target.read_text().splitlines()]
            assert len(rows) == 2
            assert rows[0]["instruction"].startswith("Question 0")
            target.write_text("something else")
    assert target.read_text() == "something else"


def test_completions_offer_folders_and_data_files_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "b.jsonl", ".hidden.json", "c.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    assert file_preview.completions(f"{tmp_path}/") == [
        f"{tmp_path}/{n}" for n in ("b.jsonl", "c.csv", "folder/", "a.txt")
    ]
    assert file_preview.completions(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden.json"]
    assert file_preview.completions(f"'{tmp_path}/b.js'") == [f"{tmp_path}/b.jsonl"]
    assert file_preview.completions(f"{tmp_path}/nowhere/x") == []
    monkeypatch.chdir(tmp_path)
    assert file_preview.completions("fo") == ["folder/"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert file_preview.completions("~/fo") == ["~/folder/"]


async def test_a_file_name_that_steers_the_terminal_is_shown_clean_and_still_found(
    drive: Drive, store: Store, some_pairs: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "evil\x1b[31m.json", [{"instruction": "Q?", "output": "A."}])
    async with drive() as app:
        await app.see("12 pairs")
        await app.press("o")
        await fill_path(app, tmp_path / "ev")
        await app.see("evil[31m.json")
        await app.press("down", "enter")
        await app.see("1 pair, alpaca")
        assert app.app.screen.query_one(PathField).value.endswith("evil\x1b[31m.json")
        assert "\x1b" not in app.text


async def test_tab_completes_a_path_and_then_goes_to_the_next_one(drive: Drive, store: Store, tmp_path: Path) -> None:
    for name in ("pairs-one.jsonl", "pairs-two.jsonl"):
        (tmp_path / name).write_text('{"question": "Who?", "answer": "Ember."}\n')
    async with drive(size=(120, 36)) as app:
        await app.see("Try it with sample data")
        await app.press("2")
        await app.see_page("ImportScreen")
        field = app.app.screen.query_one(PathField)
        await app.type(f"{tmp_path}/pa")
        await app.see("pairs-one.jsonl", "Tab Complete")
        await app.press("tab")
        await app.until(lambda: field.value == f"{tmp_path}/pairs-")
        await app.press("tab", "tab", "enter")
        await app.until(lambda: field.value == f"{tmp_path}/pairs-two.jsonl")
        await app.until(lambda: "Tab Complete" not in app.text)
        await app.press("tab")
        await app.until(lambda: not field.has_focus_within)
