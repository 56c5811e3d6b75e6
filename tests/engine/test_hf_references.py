"""hf:ORG/NAME and the folders that are data sets: what is recognised, by names and small files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.hf_data import references
from engine.hf_data.references import DataSetRef
from store.errors import BadInput


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:org/name", DataSetRef("org/name")),
        ("hf:gsm8k:main", DataSetRef("gsm8k", None, None, "main")),
        ("hf:org/name@refs/convert/parquet:en-de", DataSetRef("org/name", None, "refs/convert/parquet", "en-de")),
    ],
)
def test_references_to_the_hub(text: str, expected: DataSetRef) -> None:
    assert references.find(text) == expected and str(expected) == text


@pytest.mark.parametrize("text", ["hf:", "hf:a/b/c", "hf:org/name@", "hf:org/name:", "hf:org/na me", "hf:./nowhere"])
def test_a_wrong_reference_says_how_to_write_it(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        references.find(text)
    assert caught.value.where == text and caught.value.todo


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "is_one"),
    [
        ("dataset_dict.json", "{}", True),
        ("data/train-00000-of-00002.parquet", "", True),
        ("validation-00000-of-00001.jsonl.gz", "", True),
        ("README.md", "---\nconfigs:\n- config_name: default\n---\n# Data\n", True),
        ("README.md", "---\nlicense: mit\n---\nconfigs: none\n", False),
        ("README.md", "# Data\nconfigs:\n", False),
        ("state.json", "{}", False),
        ("train.jsonl", "", False),
        ("deep/er/train-00000-of-00002.parquet", "", False),
    ],
)
def test_folders_that_are_data_sets(tmp_path: Path, name: str, text: str, is_one: bool) -> None:
    touch(tmp_path / name, text)
    assert references.is_data_set(tmp_path) is is_one
    assert (references.find(str(tmp_path)) is not None) is is_one
    assert references.find(f"hf:{tmp_path}:en") == DataSetRef(str(tmp_path), tmp_path, None, "en")


def test_one_saved_split_is_a_data_set(tmp_path: Path) -> None:
    touch(tmp_path / "state.json")
    touch(tmp_path / "dataset_info.json")
    assert references.is_saved(tmp_path) and references.is_data_set(tmp_path)
    assert references.find(str(tmp_path / "state.json")) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", ("train", True)), ("validation", ("val", True)), ("test", ("test", True)), ("dev", ("val", True)),
        ("train_sft", ("train", True)), ("test_gen", ("test", True)), ("Validation", ("val", True)),
        ("unsupervised", ("train", False)), ("latest", ("train", False)),
    ],
)  # fmt: skip
def test_splits_by_their_names(name: str, expected: tuple[str, bool]) -> None:
    assert references.our_split(name) == expected


def test_splits_that_are_asked_for() -> None:
    assert references.split_pairs("a=train, b = val") == {"a": "train", "b": "val"}
    assert references.split_pairs("val") is None
    with pytest.raises(BadInput) as caught:
        references.split_pairs("a=train,b=dev")
    assert "b=dev" in caught.value.what
