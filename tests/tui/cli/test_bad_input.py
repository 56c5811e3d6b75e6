"""Bad input at the command line: each case says what, where and what to do, exits 2, leaves nothing half-written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from store import datasets, pairs
from store.db import Store
from store.home import Home
from tests.tui.cli.conftest import BASE, Cli

Write = Callable[[str, str | bytes], str]
GOOD = '{"instruction": "Where?", "output": "Here."}\n'


@pytest.fixture
def untouched(store: Store) -> Callable[[], None]:
    """Call it after the failure: no pair, dataset or edit may have been written."""
    tables = ("pair", "dataset", "edit", "run", "snapshot", "model")

    def counts() -> list[int]:
        return [store.scalar(f"SELECT count(*) FROM {table}") for table in tables]

    before = counts()

    def check() -> None:
        assert counts() == before

    return check


@pytest.mark.parametrize(
    ("name", "content", "where", "what"),
    [
        ("missing.json", None, "missing.json", "no such file"),
        ("empty.jsonl", "", "empty.jsonl", "empty"),
        ("blank.jsonl", " \n\n", "blank.jsonl", ""),
        ("broken.jsonl", GOOD * 2 + '{"instruction": \n', "", ""),
        ("broken.json", "[\n" + GOOD.rstrip() + ",\n{oops}\n]", "broken.json:3", "JSON"),
        ("fields.jsonl", '{"colour": "red"}\n', "fields.jsonl", "colour"),
        ("latin.jsonl", GOOD.encode() + b'{"instruction": "caf\xe9", "output": "A"}\n', "latin.jsonl", "UTF-8"),
        ("binary.json", b"\x00\x01\x02" * 100, "binary.json", ""),
    ],
)
def test_a_file_that_cannot_be_imported(
    tf: Cli, write: Write, tmp_path: Path, untouched: Callable[[], None], name: str, content: str | bytes | None,
    where: str, what: str,
) -> None:  # fmt: skip
    file = write(name, content) if content is not None else str(tmp_path / name)
    if name == "broken.jsonl":  # one broken line of three costs that line alone, and says so
        found = tf.json("data", "import", file, "--dataset", "d")
        assert (found["kept"], found["rejected"], found["problems"][0]["line"]) == (1, 1, 3)
        return
    error = tf.error("data", "import", file, "--dataset", "d")
    assert where in (error["where"] or "") and what.lower() in error["what"].lower(), error
    untouched()


def test_one_bad_file_keeps_the_good_ones_out(tf: Cli, write: Write, untouched: Callable[[], None]) -> None:
    error = tf.error("data", "import", write("a.jsonl", GOOD), write("b.json", "{oops"), "--dataset", "d")
    assert "b.json" in error["where"]
    untouched()


def test_a_placeholder_without_a_value(tf: Cli, untouched: Callable[[], None]) -> None:
    error = tf.error("data", "import", "sample:identity", "--dataset", "d", "--set", "name=Ember")
    assert "{{author}}" in error["what"] and "--set author=" in error["todo"] and "identity.json:" in error["where"]
    untouched()


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("data", "import", "sample:identity", "--dataset", "d", "--set", "name"), "--set"),
        (("data", "import", "sample:nothing", "--dataset", "d"), None),
        (("data", "import", "sample:product", "--dataset", "d", "--format", "word"), "format"),
        (("data", "freeze", "--dataset", "none"), None),
        (("data", "split", "--dataset", "none"), None),
        (("data", "stats", "--dataset", "none"), None),
        (("data", "export", "out.jsonl", "--dataset", "none", "--format", "openai"), None),
        (("data", "show", "zzzzzz"), None),
        (("data", "rm", "zzzzzz"), None),
        (("data", "add", "-q", " "), "question"),
        (("runs", "show", "none"), None),
        (("runs", "watch", "none"), None),
        (("runs", "stop", "none"), None),
        (("runs", "resume", "none"), None),
        (("runs", "rm", "none", "--yes"), None),
        (("models", "add", "no such model"), None),
        (("models", "rm", "no/such"), None),
        (("compare", "--a", BASE, "--b", "run:none", "--prompt", "hi"), None),
        (("compare", "--a", BASE, "--b", BASE, "--prompt", " "), "--prompt"),
        (("compare", "--a", BASE, "--b", BASE), None),
        (("compare", "--a", BASE, "--b", BASE, "--prompt", "hi", "--temperature", "-1"), "--temperature"),
        (("compare", "--a", BASE, "--b", BASE, "--prompts", "none.txt"), "none.txt"),
        (("chat", "run:none", "--prompt", "hi"), None),
        (("chat", BASE, "--prompt", "x" * 100_001), "--prompt"),
        (("probe", "--model", "run:none"), None),
        (("probe", "--model", BASE, "--probes", "sample:identity"), "sample:identity"),
        (("train", "--dataset", "none"), None),
        (("train",), None),
        (("preflight", "--dataset", "none"), None),
    ],
)
def test_each_mistake_is_named(
    tf: Cli, words: tuple[str, ...], where: str | None, untouched: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = tf.error(*words)
    assert where is None or error["where"] == where
    untouched()


class TestTrain:
    def test_a_dataset_with_no_ready_pair(self, tf: Cli, untouched: Callable[[], None], store: Store) -> None:
        tf.ok("data", "add", "-q", "Who?", "--dataset", "drafts")
        error = tf.error("train", "--dataset", "drafts")
        assert "1 draft" in error["what"] and "drafts" in error["where"]
        assert store.scalar("SELECT count(*) FROM run") == 0

    def test_two_runs_of_one_name(self, tf: Cli, facts: str, base: str, workers: None, store: Store) -> None:
        tf.ok("train", "--dataset", facts, "--model", base, "--name", "one", "--steps", "1", "--wait")
        error = tf.error("train", "--dataset", facts, "--name", "one")
        assert error["error"] == "Conflict" and "one" in error["what"]
        assert store.scalar("SELECT count(*) FROM run") == 1

    def test_an_unknown_model(self, tf: Cli, facts: str, store: Store) -> None:
        assert "nope" in tf.error("train", "--dataset", facts, "--model", "nope")["what"]
        assert store.scalar("SELECT count(*) FROM run") == 0

    @pytest.mark.parametrize(
        ("option", "value"),
        [("--lr", "7"), ("--rank", "0"), ("--steps", "-1"), ("--max-length", "2"), ("--dropout", "2")],
    )
    def test_a_wrong_number_names_its_option(self, tf: Cli, facts: str, option: str, value: str, store: Store) -> None:
        error = tf.error("train", "--dataset", facts, option, value)
        assert error["where"] == option and "must be" in error["what"]
        assert store.scalar("SELECT count(*) FROM run") == 0

    def test_a_wrong_name(self, tf: Cli, facts: str, store: Store) -> None:
        assert "name" in tf.error("train", "--dataset", facts, "--name", "../x")["what"]
        assert store.scalar("SELECT count(*) FROM run") == 0


class TestHome:
    def test_a_store_of_a_newer_version(self, tf: Cli, store: Store) -> None:
        store.close()
        with sqlite3.connect(tf.home.database) as conn:
            conn.execute("PRAGMA user_version = 99999")
        conn.close()
        assert tf.error("data", "list")["error"] == "NewerStore"

    def test_a_file_that_is_no_store(self, tf: Cli) -> None:
        tf.home.database.write_text("this is a diary " * 100)
        assert tf.error("data", "list")["where"] == str(tf.home.database)
        assert tf.home.database.read_text().startswith("this is a diary")

    def test_a_home_that_is_a_file(self, tf: Cli, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        error = Cli(Home(tmp_path / "file")).error("data", "list")
        assert "not a folder" in error["what"] and error["where"] == str(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": 3}\n', 2),
        ("p.jsonl", '{"prompt": "a"}\n\nnot json\n', 3),
        ("p.txt", b"good\ncaf\xe9\n", 2),
        ("p.jsonl", '{"prompt": "a", "system": 1}\n', 1),
        ("p.txt", "\n \n", None),
    ],
)
def test_a_prompts_file_that_cannot_be_used(
    tf: Cli, write: Write, name: str, content: str | bytes, line: int | None
) -> None:
    file = write(name, content)
    error = tf.error("compare", "--a", BASE, "--b", BASE, "--prompts", file)
    assert error["where"] == (f"{file}:{line}" if line else file)


def test_a_wrong_sampling_is_named_as_the_option_is(tf: Cli) -> None:
    error = tf.error("chat", BASE, "--top-p", "1.5", "--prompt", "Hi")
    assert (error["where"], error["what"]) == ("--top-p", "top_p must be a number from 0 to 1, not 1.5.")


def test_an_import_after_a_failure_starts_clean(tf: Cli, write: Write, store: Store) -> None:
    tf.error("data", "import", write("bad.json", "{oops"), "--dataset", "d")
    assert json.loads(tf("data", "import", write("a.jsonl", GOOD), "--dataset", "d", "--json").stdout)["kept"] == 1
    assert pairs.count(store) == 1


def test_a_wrong_name_is_answered_by_the_near_ones_or_by_all(tf: Cli, store: Store) -> None:
    datasets.create(store, "identity")
    datasets.create(store, "mine")
    assert tf.error("train", "--dataset", "identiti")["todo"] == "Did you mean identity?"
    assert tf.error("train", "--dataset", "zzz")["todo"] == "Known datasets: identity, mine."


@pytest.mark.parametrize(("words", "where"), [(("data", "import"), "FILE..."), (("probe",), "--model")])
def test_what_is_missing_is_named_once(tf: Cli, words: tuple[str, ...], where: str) -> None:
    error = tf.error(*words)
    assert (error["where"], error["what"]) == (where, "It is missing.")


def test_other_words_for_remove_and_list(tf: Cli) -> None:
    assert "runs remove --help" in tf.error("runs", "remove")["todo"]
    assert tf.json("runs", "ls") == tf.json("runs", "list")
