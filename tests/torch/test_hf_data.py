"""Data sets that the library datasets wrote: imported from the command line, whole or not at all, by splits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core import process
from engine.hf_data import reader, references
from engine.hf_data.imports import import_data
from engine.hf_data.spooling import About, spooled
from store import datasets, edits, pairs, votes
from store.db import Store
from store.errors import BadInput, NotFound, ServerError, TuningforkError, Unsupported
from tests.engine.hf_folders import SAVED, make
from tests.torch.fake_hub import COMMIT, fake_hub
from tui import formatting
from tui.import_report import beforehand


def imported(store: Store, source: Path | str, **how: Any) -> Any:
    found = references.find(str(source))
    assert found is not None
    return import_data(store, [found], dataset="d", **how)


def places(store: Store) -> Counter[tuple[str, str]]:
    """How many pairs of which first word are in which split."""
    return Counter((pair.question.split()[0], split) for pair, split in datasets.members(store, "d"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made"), SAVED) / "saved"


HUB = """
import os
os.makedirs("data")
rows("One", 3).to_parquet("data/train-00000-of-00002.parquet")
rows("Two", 3).to_parquet("data/train-00001-of-00002.parquet")
rows("Three", 2).to_parquet("data/test-00000-of-00001.parquet")
"""
CONFIGS = """
rows("One", 3).to_json("one.jsonl")
rows("Two", 2).to_json("two.jsonl")
open("README.md", "w").write('''---
configs:
- config_name: first
  data_files:
  - split: train
    path: one.jsonl
- config_name: second
  data_files:
  - split: dev
    path: two.jsonl
---
''')
"""


class TestSaved:
    def test_each_split_goes_to_its_own(self, store: Store, saved: Path) -> None:
        seen: list[About] = []
        report = imported(store, saved, on_about=seen.append)
        assert places(store) == {("One", "train"): 5, ("Two", "val"): 3, ("Three", "train"): 2}
        assert (report.read, report.pairs, report.not_read) == (10, 10, {"n": 10})
        assert seen[0].splits == {"train": 5, "validation": 3, "extra": 2} and seen[0].total == 10
        assert f"{saved}: train (5 rows) went to train, validation (3 rows) to val, extra (2 rows) to train." in (
            report.notices
        )
        assert any("the name extra means no split" in line for line in report.notices)
        pair, _ = next(each for each in datasets.members(store, "d") if each[0].question == "Two 1?")
        assert pair.source == {"file": "saved.validation.jsonl", "line": 2}
        assert list(store.home.cache.iterdir()) == []

    def test_the_whole_of_it_is_one_edit(self, store: Store, saved: Path) -> None:
        imported(store, saved)
        edits.undo(store)
        assert pairs.search_ids(store, "") == []

    def test_all_in_one_split(self, store: Store, saved: Path) -> None:
        imported(store, saved, split="test")
        assert {split for _, split in places(store)} == {"test"}

    def test_only_what_is_asked_for(self, store: Store, saved: Path) -> None:
        report = imported(store, saved, split="extra=val,train=test")
        assert places(store) == {("Three", "val"): 2, ("One", "test"): 5}
        assert f"{saved}: not read or empty: validation." in report.notices

    def test_a_split_that_is_not_there(self, store: Store, saved: Path) -> None:
        with pytest.raises(BadInput) as caught:
            imported(store, saved, split="dev=val")
        assert caught.value.todo == "It has: train, validation, extra." and pairs.search_ids(store, "") == []

    def test_columns_are_mapped(self, store: Store, saved: Path) -> None:
        from store.formats.mapped import read_mapping

        imported(store, saved, mapping=read_mapping(["question=n,answer=question"]))
        assert {pair.answer for pair, _ in datasets.members(store, "d")} >= {"One 4?", "Three 1?"}

    def test_a_preview_reads_the_first_rows_of_one_split(self, saved: Path, tmp_path: Path) -> None:
        ref = references.find(str(saved))
        assert ref is not None
        with spooled(ref, tmp_path, limit=2) as found:
            [only] = found.files
            assert (only.name, only.rows) == ("train", 2)
            assert [json.loads(line)["n"] for line in only.path.read_text().splitlines()] == [0, 1]
        assert list(tmp_path.iterdir()) == []

    def test_an_error_names_the_data_set_and_nothing_is_written(self, store: Store, tmp_path: Path) -> None:
        good, bad = 'rows("One", 2)', 'Dataset.from_list([{"question": "", "answer": "x"}])'
        made = make(tmp_path / "made", f'DatasetDict(train={good}, test={bad}).save_to_disk("x")') / "x"
        with pytest.raises(BadInput) as caught:
            imported(store, made)
        assert caught.value.where == f"{made}: x.test.jsonl:1"
        assert pairs.search_ids(store, "") == [] and not list(store.home.logs.glob("import-*"))

    @pytest.mark.parametrize("at", ["on_about", "on_progress"])
    def test_stopping_it_leaves_nothing(self, store: Store, tmp_path: Path, at: str) -> None:
        def stop(_: object) -> None:
            raise KeyboardInterrupt

        made = make(tmp_path / "made", 'rows("One", 5000).save_to_disk("x")') / "x"
        with pytest.raises(KeyboardInterrupt):
            imported(store, made, **{at: stop})
        assert list(store.home.cache.iterdir()) == [] and pairs.search_ids(store, "") == []


class TestColumns:
    def test_images_are_refused_with_the_column(self, store: Store, tmp_path: Path) -> None:
        code = """
features = Features({"question": Value("string"), "answer": Value("string"), "shown": List(Image())})
Dataset.from_list([{"question": "q", "answer": "a", "shown": []}], features=features).save_to_disk("x")
"""
        with pytest.raises(Unsupported) as caught:
            imported(store, make(tmp_path / "made", code) / "x")
        assert caught.value.what == "The column shown (split train): images are not supported: a row is text alone."

    def test_classes_are_named_and_bytes_left_out(self, store: Store, tmp_path: Path) -> None:
        code = """
features = Features({"question": Value("string"), "answer": ClassLabel(names=["cat", "dog"]), "raw": Value("binary")})
Dataset.from_list([{"question": "q", "answer": 1, "raw": b"x"}], features=features).save_to_disk("x")
"""
        report = imported(store, make(tmp_path / "made", code) / "x")
        assert [pair.answer for pair, _ in datasets.members(store, "d")] == ["dog"]
        assert [line.partition("column ")[2] for line in report.notices if "column" in line] == [
            "answer: the names of its classes are read, not their numbers.",
            "raw: it holds bytes, which are not read.",
        ]

    def test_preferences_and_conversations(self, store: Store, tmp_path: Path) -> None:
        code = """
turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
DatasetDict(
    train=Dataset.from_list([{"messages": turns}]),
    test=Dataset.from_list([{"prompt": "p", "chosen": "c", "rejected": "r"}]),
).save_to_disk("x")
"""
        report = imported(store, make(tmp_path / "made", code) / "x")
        assert (report.pairs, report.preferences, report.kept) == (1, 1, 2)
        assert len(votes.preferences(store, "d", "test")) == 1 and not votes.preferences(store, "d", "train")


class TestLayoutOfTheHub:
    def test_shards_of_parquet(self, store: Store, tmp_path: Path) -> None:
        report = imported(store, make(tmp_path / "made", HUB))
        assert places(store) == {("One", "train"): 3, ("Two", "train"): 3, ("Three", "test"): 2}
        assert report.read == 8

    def test_configs_of_a_readme(self, store: Store, tmp_path: Path) -> None:
        folder = make(tmp_path / "made", CONFIGS)
        with pytest.raises(BadInput) as caught:
            imported(store, folder)
        assert "hf:" in (caught.value.todo or "") and "first, second" in (caught.value.todo or "")
        imported(store, f"hf:{folder}:second")
        assert places(store) == {("Two", "val"): 2}

    def test_a_readme_cannot_name_files_elsewhere(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "secret.jsonl").write_text('{"question": "q", "answer": "a"}\n')
        folder = tmp_path / "made"
        folder.mkdir()
        (folder / "README.md").write_text("---\nconfigs:\n- config_name: x\n  data_files: ../secret.jsonl\n---\n")
        with pytest.raises(BadInput) as caught:
            imported(store, folder)
        assert "outside of it" in caught.value.what and pairs.search_ids(store, "") == []

    def test_code_of_a_data_set_is_never_run(self, store: Store, tmp_path: Path) -> None:
        folder = tmp_path / "made"
        folder.mkdir()
        ran = tmp_path / "ran"
        (folder / "made.py").write_text(f"open({str(ran)!r}, 'w')\n")
        with pytest.raises(TuningforkError) as caught:
            imported(store, f"hf:{folder}")
        assert "never runs" in caught.value.what and caught.value.exit_code == 2 and not ran.exists()

    def test_a_damaged_shard(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"PAR1 not really")
        with pytest.raises(BadInput) as caught:
            imported(store, tmp_path)
        assert "cannot be read" in caught.value.what and caught.value.where == str(tmp_path)


class TestTheHub:
    @pytest.fixture(autouse=True)
    def _its_cache(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def test_it_is_streamed_at_one_revision(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = make(tmp_path / "made", HUB)
        with fake_hub(folder, "org/name") as (address, asked):
            monkeypatch.setenv("HF_ENDPOINT", address)
            seen: list[tuple[str, int]] = []
            report = imported(
                store, "hf:org/name", on_about=lambda about: seen.append((beforehand(about), len(fetched(asked))))
            )
            size = formatting.size(sum(each.stat().st_size for each in folder.rglob("*.parquet")))
            host = address.partition("//")[2]
            assert seen == [(f"Fetching hf:org/name from {host}: 3 files, {size}; splits: train, test.", 0)]
            assert set(fetched(asked)) == {f"/datasets/org/name/resolve/{COMMIT}/data/{each.name}"
                                           for each in folder.rglob("*.parquet")}  # fmt: skip
        assert places(store) == {("One", "train"): 3, ("Two", "train"): 3, ("Three", "test"): 2}
        assert f"hf:org/name: read at revision {COMMIT}." in report.notices

    def test_an_unknown_one_and_files_of_another_host(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "made"
        folder.mkdir()
        (folder / "README.md").write_text(
            "---\nconfigs:\n- config_name: x\n  data_files: http://127.0.0.1:9/x.jsonl\n---\n"
        )
        with fake_hub(folder, "org/name") as (address, _):
            monkeypatch.setenv("HF_ENDPOINT", address)
            with pytest.raises(NotFound) as unknown:
                imported(store, "hf:org/other")
            with pytest.raises(BadInput) as elsewhere:
                imported(store, "hf:org/name")
        assert unknown.value.what == "The hub shows no such data set."
        assert "names a file outside of it" in elsewhere.value.what

    def test_a_connection_that_breaks_is_no_fault_of_the_disk(self, tmp_path: Path) -> None:
        """The hub's errors are OSErrors, as those of the file that the rows are written to."""
        request = dict.fromkeys(("folder", "saved", "revision", "config", "splits", "limit"))
        reading = reader._Reading(request | {"ref": "hf:org/name", "short": "name", "into": str(tmp_path)})
        with pytest.raises(ServerError) as caught, reader._Named("hf:org/name", False):
            reading._write("train", BreaksOff())
        assert caught.value.what == "The Hugging Face hub cannot be reached." and list(tmp_path.iterdir()) == []


class BreaksOff:
    """A split whose connection is lost after its first rows."""

    features = None

    def with_format(self, _: str) -> BreaksOff:
        return self

    def iter(self, batch_size: int) -> Iterator[Any]:
        import pyarrow

        yield pyarrow.table({"question": ["One"]})
        raise ConnectionResetError("Connection reset by peer")


def fetched(asked: list[str]) -> list[str]:
    """The data files among the paths that were asked for."""
    return [path for path in asked if path.endswith(".parquet")]


def command(home: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tui", "--home", str(home), "data", "import", *words, "--dataset", "d"]
    return subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=process.environment() | env
    )


def test_the_command_line_stays_light_and_says_what_it_reads(tmp_path: Path, saved: Path) -> None:
    code = (
        "import sys; from tui.__main__ import main\ntry: main()\n"
        "except SystemExit: pass\nprint([n for n in ('datasets', 'pyarrow', 'pandas') if n in sys.modules])"
    )
    argv = [sys.executable, "-c", code, "--home", str(tmp_path), "data", "import", str(saved), "--dataset", "d"]
    done = subprocess.run(argv, capture_output=True, text=True, env=process.environment(), timeout=120)
    assert done.stdout.splitlines()[0] == "10 pairs imported into d of 10 rows read." and "[]" in done.stdout
    assert f"Reading {saved}: 3 files" in done.stderr and "splits: train, validation, extra." in done.stderr


def test_the_hub_switched_off_is_a_sentence(tmp_path: Path) -> None:
    made = command(tmp_path, "hf:org/name", HF_HUB_OFFLINE="1")
    _, said = made.communicate(timeout=120)
    assert made.returncode == 2 and "hf:org/name: The Hugging Face hub is switched off here" in said


def test_no_network_is_a_sentence(tmp_path: Path) -> None:
    off = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    made = command(tmp_path / "home", "hf:org/name", **off)
    _, said = made.communicate(timeout=180)
    assert made.returncode == 1 and "hf:org/name: The Hugging Face hub cannot be reached." in said
    assert "Retrying" not in said  # the library asks again for 24 s


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    """The rows come through a pipe that never ends, so the reader is at work when the interrupt comes."""
    folder = tmp_path / "made"
    folder.mkdir()
    os.mkfifo(folder / "train-00000-of-00001.jsonl")
    made = command(tmp_path / "home", str(folder))
    cache = tmp_path / "home" / "cache"
    deadline = time.monotonic() + 60
    while not list(cache.glob("data-set-*")):
        assert time.monotonic() < deadline and made.poll() is None
        time.sleep(0.05)
    made.send_signal(signal.SIGINT)
    made.communicate(timeout=60)
    assert made.returncode == 130 and list(cache.iterdir()) == []
