"""The log of a run, read as it grows: its end only, whole characters, and the file of a new process."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.training.run_log import RunLogReader, latest
from store import runs
from store.db import Store
from store.errors import NotFound
from tests.saved_runs import a_saved_run


def written(store: Store, text: bytes, name: str = "x.log") -> Path:
    path = store.home.root / "runs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(text)
    return path


def test_a_run_without_a_log_is_refused(store: Store) -> None:
    a_saved_run(store)
    with pytest.raises(NotFound, match="no log yet"):
        latest(store, "ember-1")


def test_what_is_written_later_is_read_once_and_whole(store: Store) -> None:
    a_saved_run(store)
    path = written(store, "first 你".encode()[:-1])
    reader = RunLogReader("ember-1")
    part = reader.more(store)
    assert (part.path, part.text, part.fresh, part.left_out) == (path, "first ", True, 0)
    written(store, "你\nnext\n".encode()[2:])
    part = reader.more(store)
    assert (part.text, part.fresh) == ("你\nnext\n", False)
    assert reader.more(store).text == ""


def test_of_a_long_log_whole_lines_of_the_end_are_read_and_the_rest_counted(store: Store) -> None:
    a_saved_run(store)
    written(store, b"".join(b"line %03d\n" % n for n in range(100)))
    part = RunLogReader("ember-1", most=25).more(store)
    assert part.text == "line 098\nline 099\n"
    assert part.left_out == 98 * 9


def test_a_new_process_begins_a_new_log(store: Store) -> None:
    run, _ = a_saved_run(store, state="stopped")
    written(store, b"old\n")
    reader = RunLogReader("ember-1")
    assert reader.more(store).text == "old\n"
    runs.open_attempt(store, run.id, host="here", pid=1, pid_started=1.0, token="next", log_path="runs/y.log")
    written(store, b"new\n", "y.log")
    part = reader.more(store)
    assert (part.text, part.fresh) == ("new\n", True)
