"""A format that registers itself is all that the command line needs to read and write its files."""

from __future__ import annotations

from pathlib import Path

from store import pairs
from store.db import Store
from store.records import PairDraft
from tests.toy_format import toy_format  # noqa: F401 - a fixture
from tests.tui.cli.conftest import Cli

TEXT = "Q: Where?\nA: Here.\n\nQ: Why?\n\nQ: When?\nA: Now."


def test_a_registered_format_is_imported_exported_and_in_the_help(tf: Cli, toy_format: None, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "in.qa").write_text(TEXT)
    found = tf.json("data", "import", str(tmp_path / "in.qa"), "--dataset", "d")
    assert (found["read"], found["kept"], found["rejected"]) == (3, 2, 1)
    assert found["problems"][0]["line"] == 4
    named = tf.json("data", "import", str(tmp_path / "in.qa"), "--dataset", "d", "--format", "qa-text")
    assert named["duplicates"] == 2
    tf.ok("data", "export", str(tmp_path / "out.qa"), "--dataset", "d", "--format", "qa-text")
    assert (tmp_path / "out.qa").read_text() == "Q: Where?\nA: Here.\n\nQ: When?\nA: Now.\n"
    assert "qa-text" in tf.ok("data", "import", "--help") and "qa-text" in tf.ok("data", "export", "--help")
    (tmp_path / "odd.json").write_text('[{"colour": 1}]')
    assert "Q: and A: lines" in tf.error("data", "import", str(tmp_path / "odd.json"), "--dataset", "d")["todo"]


def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    tf: Cli,
    store: Store,
    toy_format: None,  # noqa: F811
    tmp_path: Path,
) -> None:
    pairs.create(store, PairDraft("Where?", "Here."), dataset="d")
    pairs.create(store, PairDraft("Why?", "So.", "Be brief."), dataset="d")
    error = tf.error("data", "export", str(tmp_path / "out.qa"), "--dataset", "d", "--format", "qa-text")
    assert error["what"] == "1 of 2 pairs have a system text, which qa-text cannot hold."
    assert not (tmp_path / "out.qa").exists()


def test_without_it_the_file_is_in_no_known_format(tf: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.qa").write_text(TEXT)
    tf.error("data", "import", str(tmp_path / "in.qa"), "--dataset", "d")
    assert "qa-text" not in tf.ok("data", "import", "--help")
