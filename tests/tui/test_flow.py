"""Wrapping: whole words, wide characters, indents; growing gives the same lines as wrapping at once."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from rich.cells import cell_len

from tui.widgets.flow import Flow

TEXT = st.text(alphabet="abc d\n 日本。🙂e\u0301\t\x1b\u202e", max_size=80)


def lines(text: str, width: int) -> list[str]:
    flow = Flow(width, text)
    return [flow.line(n) for n in range(len(flow))]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("Hello big wide world", 10, ["Hello big", "wide world"]),
        ("", 10, []),
        ("one\n\ntwo", 10, ["one", "", "two"]),
        ("  if x:\n\treturn", 12, ["  if x:", "    return"]),
        ("日本語のテキスト", 10, ["日本語のテ", "キスト"]),
        ("日本語のテ。キ", 10, ["日本語の", "テ。キ"]),  # a full stop does not begin a line
        ("see https://example.com/long ok", 10, ["see", "https://ex", "ample.com/", "long ok"]),
        ("a\x1b]52;c;eA==\x07b", 20, ["a]52;c;eA==b"]),  # what controls a terminal is removed
    ],
)
def test_lines(text: str, width: int, expected: list[str]) -> None:
    assert lines(text, width) == expected


@given(TEXT, st.integers(2, 20), st.data())
@settings(max_examples=300, deadline=None)
def test_growing_equals_wrapping_at_once(text: str, width: int, data: st.DataObject) -> None:
    grown, at = Flow(width), 0
    while at < len(text):
        at += data.draw(st.integers(1, 9))
        grown.grow(text[:at])
    assert [grown.line(n) for n in range(len(grown))] == lines(text, width)


@given(TEXT, st.integers(8, 20))
@settings(max_examples=300, deadline=None)
def test_no_line_is_too_wide_and_nothing_is_lost(text: str, width: int) -> None:
    flow = Flow(width, text)
    assert all(cell_len(flow.line(n)) <= width for n in range(len(flow)))
    whole = "".join(flow.line(n) + flow.joint(n) for n in range(len(flow)))
    assert whole.split() == flow.text.split()


def test_grow_tells_the_first_line_that_changed() -> None:
    flow = Flow(10, "Hello big wide")
    assert flow.grow("Hello big wide") == 2
    assert flow.grow("Hello big wide world and") == 1
    assert flow.grow("Something else") == 0
