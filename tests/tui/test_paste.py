"""Pastes are text: what is inside the terminal's paste markers never presses a key."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from textual.drivers import linux_driver
from textual.events import Key, Paste
from textual.message import Message

from tui import terminal_input
from tui.paste import plain
from tui.terminal_input import TerminalParser

START, END = "\x1b[200~", "\x1b[201~"


def events_of(*chunks: str) -> list[Message]:
    """What the parser makes of input that arrives in these pieces, a key behind them."""
    parser = TerminalParser()
    return [event for chunk in (*chunks, "q") for event in parser.feed(chunk)]


def seen(*chunks: str) -> tuple[str, list[str]]:
    """All pasted text, and the keys that were pressed."""
    events = events_of(*chunks)
    pasted = "".join(event.text for event in events if isinstance(event, Paste))
    return pasted, [event.key for event in events if isinstance(event, Key)]


@pytest.mark.parametrize(
    ("pasted", "text"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("ring\x07 the bell", "ring the bell"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("a\tb", "a\tb"),
        ("\x1b]52;c;aGk=\x07copied", "copied"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[Aup\x1b[24~f12\x1bxalt", "upf12alt"),
        ("q\x1b" + "z" * 40, "q" + "z" * 39),
        ("大语言模型 👍 \x1b[1m粗\x1b[m", "大语言模型 👍 粗"),
        ("\n".join(f"line {n}" for n in range(5000)), "\n".join(f"line {n}" for n in range(5000))),
    ],
)
def test_a_paste_is_its_text_and_no_key(pasted: str, text: str) -> None:
    assert plain(pasted) == text
    assert seen(START + pasted + END) == (text, ["q"])


def test_keys_outside_of_a_paste_are_keys() -> None:
    assert seen("a\x1b[A", f"b{START}x\x1b[Ay{END}c") == ("xy", ["a", "up", "b", "c", "q"])


@pytest.mark.fuzz
@given(
    text=st.text(st.sampled_from("ab\x1b[]0~12m;\x07\x00\n\r\t 大"), min_size=1, max_size=60).filter(
        lambda text: END not in text
    ),
    cuts=st.lists(st.integers(0, 80), max_size=6),
)
@example(text="\x1b[20", cuts=[3, 7])
@example(text="x\x1b[201", cuts=[5])
def test_any_paste_in_any_pieces_presses_nothing(text: str, cuts: list[int]) -> None:
    whole = START + text + END
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(places) if end > start]
    assert seen(*pieces) == (plain((text + END)[: -len(END)]), ["q"])


def test_the_app_reads_the_terminal_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux_driver, "XTermParser", object)
    terminal_input.install()
    assert linux_driver.XTermParser is TerminalParser
