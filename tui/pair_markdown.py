"""A pair as one Markdown text to write in an editor, and back: a heading for each earlier turn and each of its fields.
Pure; which pair it is, and what becomes of the text, is its caller's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from store.errors import BadInput
from store.records import ROLES, Turn

HEADINGS = {"question": "# Question", "answer": "# Answer", "system": "# System text"}
"""Field -> the line above its text."""
_NOT_TRAINED = "(not trained)"
_TURN = re.compile(r"# Turn:\s*(\w*)\s*(.*)")


def written(fields: dict[str, str], turns: Sequence[Turn] = ()) -> str:
    """The earlier turns, then the fields, under their headings. BadInput where a line of a text is such a heading.

    >>> turns = [Turn("user", "Hello?"), Turn("assistant", "Hi.", train=False)]
    >>> print(written({"question": "Who?", "answer": "Me.", "system": ""}, turns))
    # Turn: user
    <BLANKLINE>
    Hello?
    <BLANKLINE>
    # Turn: assistant (not trained)
    <BLANKLINE>
    Hi.
    <BLANKLINE>
    # Question
    <BLANKLINE>
    Who?
    <BLANKLINE>
    # Answer
    <BLANKLINE>
    Me.
    <BLANKLINE>
    # System text
    <BLANKLINE>
    <BLANKLINE>
    <BLANKLINE>
    """
    named = [(f"turn {n}", turn.content) for n, turn in enumerate(turns, 1)]
    for name, text in [*named, *fields.items()]:
        if found := next(filter(_is_heading, map(str.rstrip, text.splitlines())), None):
            what = f"A line of the {name} is the heading {found!r} itself."
            raise BadInput(what, where=name, todo="Write it alone: Alt+E in the app, or an option of the command.")
    parts = [(_turn_heading(turn), turn.content) for turn in turns]
    parts += [(heading, fields[name]) for name, heading in HEADINGS.items()]
    return "\n".join(f"{heading}\n\n{text}\n" for heading, text in parts)


def read(text: str, before: dict[str, str], turns: Sequence[Turn] = ()) -> tuple[dict[str, str], tuple[Turn, ...]]:
    """The fields and the earlier turns of a text that `written` made of `before` and `turns` and an editor changed,
    without blank lines around them.

    A text whose words were not touched is what it was, blank lines too. BadInput where the heading of a field is
    missing or there twice, where a turn has no such role, or where something stands above the first heading.
    """
    names = {heading: name for name, heading in HEADINGS.items()}
    fields: dict[str, list[str]] = {}
    read_turns: list[tuple[Turn, list[str]]] = []
    current: list[str] = []
    above = current
    for line in text.split("\n"):
        name = names.get(line.rstrip())
        if name in fields:
            raise _unreadable(f"The heading {HEADINGS[name]!r} is there twice.")
        if name is not None:
            current = fields[name] = []
        elif found := _TURN.fullmatch(line.rstrip()):
            current = []
            read_turns.append((_turn(found), current))
        else:
            current.append(line)
    if missing := [heading for heading, name in names.items() if name not in fields]:
        raise _unreadable(f"The heading {missing[0]!r} is missing.")
    if any(line.strip() for line in above):
        raise _unreadable(f"There is a text above the first heading: {above[0][:40]!r}.")
    kept = {turn.content.strip("\n"): turn.content for turn in turns}
    after = {name: _touched("\n".join(fields[name]), {before[name].strip("\n"): before[name]}) for name in HEADINGS}
    return after, tuple(Turn(turn.role, _touched("\n".join(lines), kept), turn.train) for turn, lines in read_turns)


def _touched(text: str, kept: dict[str, str]) -> str:
    """A text without the blank lines around it, or as it was when its words are the same."""
    bare = text.strip("\n")
    return kept.get(bare, bare)


def _is_heading(line: str) -> bool:
    return line in HEADINGS.values() or _TURN.fullmatch(line) is not None


def _turn_heading(turn: Turn) -> str:
    return f"# Turn: {turn.role}{'' if turn.train else f' {_NOT_TRAINED}'}"


def _turn(found: re.Match[str]) -> Turn:
    """The empty turn that a heading announces."""
    role, note = found[1].lower(), found[2]
    if role not in ROLES or note not in ("", _NOT_TRAINED):
        todo = f"Write one of {', '.join(ROLES)}, and {_NOT_TRAINED} behind an answer that is only read."
        raise _unreadable(f"The line {found[0]!r} names no role.", todo)
    return Turn(role, "", train=not note or role != "assistant")  # type: ignore[arg-type]


def _unreadable(what: str, todo: str = "") -> BadInput:
    rule = f"Keep the lines {', '.join(HEADINGS.values())} as they are."
    return BadInput(f"{what} Nothing was changed.", todo=todo or rule)
