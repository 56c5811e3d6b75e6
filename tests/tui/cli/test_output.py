"""How the command line speaks: tables, JSON that is safe on a terminal, progress on a terminal and into a pipe."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.cli import output
from tui.cli.output import Progress, fields, table, to_json


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@given(st.text(st.characters(), max_size=40))
def test_json_loses_nothing_and_steers_nothing(text: str) -> None:
    line = to_json({"text": text})
    assert json.loads(line) == {"text": text}
    line.encode()  # lone surrogates would raise
    assert "\n" not in line and not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0x202A <= ord(c) <= 0x202E for c in line)


def test_a_table_in_a_pipe_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    table(("name", "n", "about"), [("日本", 5, "x" * 300), ("b\x1b[2J", 1234, None)], right=("n",), wide="about")
    assert capsys.readouterr().out.splitlines() == [
        "name     n  about",
        "日本     5  " + "x" * 300,
        "b[2J  1234  -",
    ]


def test_a_table_on_a_narrow_terminal_is_cut_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(output, "columns", lambda: 40)
    monkeypatch.setenv("NO_COLOR", "1")
    table(("name", "about"), [("a" * 10, "word " * 30)], wide="about")
    lines = screen.getvalue().splitlines()
    assert all(len(line) <= 40 for line in lines) and lines[1].startswith("a" * 10) and lines[1].endswith("…")


def test_fields_indent_what_has_several_lines(capsys: pytest.CaptureFixture[str]) -> None:
    fields([("a", "one\ntwo"), ("long", None)])
    assert capsys.readouterr().out == "a     one\n      two\nlong  -\n"


class TestProgress:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        now = [100.0]
        monkeypatch.setattr(output.time, "monotonic", lambda: now[0])

        def pass_(seconds: float) -> None:
            now[0] += seconds

        return pass_

    def show(self, stream: Any, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch, step: float) -> str:
        monkeypatch.setattr(sys, "stderr", stream)
        with Progress("Reading", 100, "rows") as progress:
            for done in range(1, 101):
                clock(step)
                progress.update(done)
        return str(stream.getvalue())

    def test_quick_work_leaves_no_trace(self, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for stream in (io.StringIO(), Terminal()):
            assert self.show(stream, clock, monkeypatch, 0.005) == ""

    def test_a_pipe_gets_plain_lines_now_and_then(self, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = self.show(io.StringIO(), clock, monkeypatch, 0.125).splitlines()
        assert len(shown) == 3 and shown[0] == "Reading 8/100 rows, 8%, 8/s, 12 s left"

    def test_a_terminal_gets_one_line_that_is_taken_away(self, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = self.show(Terminal(), clock, monkeypatch, 0.1)
        assert "\n" not in shown and shown.count("\r\x1b[KReading") > 50 and shown.endswith("\r\x1b[K")
