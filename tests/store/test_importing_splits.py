"""Files of several splits in one import: one edit, one report, all of it or nothing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from store import datasets, edits, pairs
from store.db import Store
from store.errors import BadInput
from store.importing_splits import import_splits


def put(folder: Path, name: str, *rows: dict[str, object]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(question: object, **more: object) -> dict[str, object]:
    return {"question": question, "answer": "a", **more}


def test_one_edit_and_one_report(store: Store, tmp_path: Path) -> None:
    train = put(tmp_path, "train.jsonl", row("one"), row("two {{x}}", n=1), row(""))
    val = put(tmp_path, "val.jsonl", row("three", n=1), row("one"), row(""))
    seen: list[int] = []
    found = import_splits(
        store, {"train": [train], "val": [val]}, dataset="d", variables={"x": "X", "y": "Y"}, on_progress=seen.append
    )
    assert (found.read, found.kept, found.pairs, found.duplicates, found.rejected) == (6, 3, 3, 1, 2)
    assert (found.not_read, found.elsewhere) == ({"n": 2}, {"train": 1})
    assert [(each.file, each.line) for each in found.problems] == [("train.jsonl", 3), ("val.jsonl", 3)]
    assert found.report is not None
    lines = store.home.absolute(found.report).read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["train.jsonl", "val.jsonl"]
    assert len(list(store.home.logs.glob("import-*"))) == 1
    assert [line for line in found.notices if "placeholder" in line] == [
        "No file has a placeholder {{y}}, so the value set for y was not used."
    ]
    assert any(line.startswith("val: 1 row is in d already") for line in found.notices)
    assert Counter(split for _, split in datasets.members(store, "d")) == {"train": 2, "val": 1}
    edits.undo(store)
    assert pairs.search_ids(store, "") == []


def test_a_split_without_a_usable_row_stops_all_of_it(store: Store, tmp_path: Path) -> None:
    train, test = put(tmp_path, "train.jsonl", row("one"), row("")), put(tmp_path, "test.jsonl", row(""))
    with pytest.raises(BadInput) as caught:
        import_splits(store, {"train": [train], "test": [test]}, dataset="d")
    assert caught.value.where == f"{test}:1"
    assert pairs.search_ids(store, "") == [] and not list(store.home.logs.glob("import-*"))
