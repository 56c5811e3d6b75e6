"""Names of runs and datasets: none is a path, an option or a control sequence."""

from __future__ import annotations

import pytest

from store import datasets, runs
from store.db import Store
from store.errors import BadInput
from store.names import check_name
from store.records import PairDraft

BAD = [
    "",
    "  ",
    ".",
    "..",
    "-rf",
    "--help",
    ".hidden",
    "a/b",
    "a\\b",
    "../x",
    "/etc",
    "a\nb",
    "a\x1b[0m",
    "a\x00",
    "x" * 101,
]
FOLDER_ONLY = ["two words", "名前", "a:b", "a*b", "x" * 65]


@pytest.mark.parametrize("name", BAD)
def test_neither_a_run_nor_a_dataset_is_called_so(name: str, store: Store) -> None:
    from store import pairs

    with pytest.raises(BadInput) as caught:
        datasets.create(store, name)
    assert "cannot be the name of a dataset" in caught.value.what and caught.value.todo
    pairs.create_many(store, [PairDraft("q", "a")], dataset="d")
    snapshot = datasets.freeze(store, "d").hash
    with pytest.raises(BadInput):
        runs.create(store, name=name, base="b", snapshot=snapshot, method="lora", config={}, config_hash="x", seed=0)
    with pytest.raises(BadInput):
        datasets.rename(store, "d", name)


@pytest.mark.parametrize("name", FOLDER_ONLY)
def test_a_folder_name_is_plain(name: str) -> None:
    with pytest.raises(BadInput):
        check_name(name, "run", folder=True)


@pytest.mark.parametrize("name", ["ember", "a.b", "1", "_x", "run-2.1", "x" * 64])
def test_good_names(name: str) -> None:
    assert check_name(name, "run", folder=True) == name
    assert check_name("名前 with spaces", "dataset") == "名前 with spaces"
