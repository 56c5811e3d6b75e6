"""Cleaning foreign text: what stays, what goes, and that nothing is read as markup."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.text import clean, clip, content, fit, one_line, tail

OSC52 = "\x1b]52;c;SGVsbG8=\x07"


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        (f"a{OSC52}b", "a]52;c;SGVsbG8=b"),
        ("\x1b[2J\x1b[31mred", "[2J[31mred"),
        ("\x9b31mred", "31mred"),
        ("a\x7fb\x00c\x08d", "abcd"),
        ("left\u202eright\u2066x\u2069", "leftrightx"),
        ("\ufeffstart", "start"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("half \ud83d of one", "half \ufffd of one"),
        ("[/foo] [a-z] [bold]x[/]", "[/foo] [a-z] [bold]x[/]"),
        ("日本語 🙂 é", "日本語 🙂 é"),
    ],
)
def test_only_text_passes(foreign: str, shown: str) -> None:
    assert clean(foreign) == shown


@given(st.text(st.characters()))
def test_nothing_that_steers_is_ever_left(text: str) -> None:
    passed = clean(text)
    assert not [
        c for c in passed if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) <= 0x9F or 0x202A <= ord(c) <= 0x202E
    ]
    passed.encode("utf-8")
    assert clean(passed) == passed


@given(st.text(), st.integers(1, 60))
def test_a_fitted_line_has_exactly_its_width(text: str, width: int) -> None:
    line = fit(text, width)
    assert cell_len(line) == width
    assert "\n" not in line
    assert cell_len(one_line(text, width)) <= width


@given(st.text(), st.integers(0, 40))
def test_the_end_of_a_long_line_stays(text: str, width: int) -> None:
    shown = tail(text, width)
    assert cell_len(shown) <= width
    assert "\n" not in shown and " ".join(clean(text).split()).endswith(shown.removeprefix("…"))


def test_a_path_keeps_its_name() -> None:
    assert tail("/home/ada/data/pairs.jsonl", 18) == "…/data/pairs.jsonl"
    assert tail("数据/模型/文件.json", 12) == "…/文件.json"
    assert [tail("abcd", width) for width in (4, 3, 1, 0)] == ["abcd", "…cd", "…", ""]


def test_markup_stays_literal() -> None:
    assert content("[/foo] [red]x[/red]").plain == "[/foo] [red]x[/red]"
    assert content("[red]x").spans == []


def test_one_line_says_that_it_was_cut() -> None:
    assert one_line("one two three", 8) == "one two…"
    assert one_line("short", 8) == "short"
    assert one_line("日本語日本語", 7) == "日本語…"
    assert one_line("x" + " " * 500 + "y", 20) == "x…"
    assert one_line("anything", 0) == ""


def test_a_line_of_200000_characters_is_clipped_at_once() -> None:
    began = time.process_time()
    line, shown = one_line("x" * 200_000, 80), clip("y" * 200_000)
    assert time.process_time() - began < 0.05
    assert cell_len(line) == 80
    assert len(shown) < 4_100
    assert shown.endswith("(196,000 more characters)")
