"""The recorded session: what a terminal got becomes a cast file and a moving picture."""

from __future__ import annotations

import doctest
import json
import math
from xml.etree import ElementTree

from scripts import animate
from scripts.record import Cast

EVENTS = [(0.0, "\x1b[31mRot\x1b[0m & 模型 <b>"), (2.0, "\x1b[2J\x1b[H\x1b[7mzweite\x1b[0m")]
SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_has_each_frame_once() -> None:
    root = ElementTree.fromstring(animate.svg(EVENTS, 20, 3))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts == ["Rot", "& 模型 <b>", "zweite"]
    assert len(list(root.iter(f"{SVG}use"))) == 2
    style = root.findtext(f"{SVG}style") or ""
    assert "0.000%{transform:translateY(-0px)}" in style and f"translateY(-{3 * animate.CELL_H}px)" in style


def test_a_wide_character_takes_two_cells() -> None:
    [(_, page)] = animate.frames([(0.0, "模型x\x1b[1my")], 10, 1)
    assert [(run.start, run.cells, run.text.strip()) for run in page[0]] == [(0, 5, "模型x"), (5, 1, "y")]


def test_what_follows_at_once_is_one_frame() -> None:
    assert doctest.testmod(animate).failed == 0
    shown = [*animate.frames([(n / 100, f"{n} ") for n in range(100)], 80, 5)]
    assert len(shown) == math.ceil(1 / animate.FRAME_S)


def test_a_cast_is_lines_of_json() -> None:
    header, *events = Cast(20, 3, EVENTS).text().splitlines()
    assert json.loads(header) == {"version": 2, "width": 20, "height": 3, "title": "Tuningfork"}
    assert [json.loads(each) for each in events] == [[at, "o", text] for at, text in EVENTS]
