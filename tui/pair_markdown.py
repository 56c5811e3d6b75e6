"""A pair as one Markdown text to write in an editor, and back: a heading for each of its fields.
Pure; which pair it is, and what becomes of the text, is its caller's."""

from __future__ import annotations

from store.errors import BadInput

HEADINGS = {"question": "# Question", "answer": "# Answer", "system": "# System text"}
"""Field -> the line above its text."""


def written(fields: dict[str, str]) -> str:
    """The fields under their headings. BadInput where a line of a text is one of the headings.

    >>> print(written({"question": "Who?", "answer": "Me.", "system": ""}))
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
    for name, text in fields.items():
        if found := set(HEADINGS.values()).intersection(line.rstrip() for line in text.splitlines()):
            what = f"A line of the {name} is the heading {found.pop()!r} itself."
            raise BadInput(what, where=name, todo="Open one field at a time: Alt+E in it.")
    return "\n".join(f"{heading}\n\n{fields[name]}\n" for name, heading in HEADINGS.items())


def read(text: str, before: dict[str, str]) -> dict[str, str]:
    """The fields of a text that `written` made of `before` and an editor changed, without blank lines around them.

    A field whose words were not touched is what it was, blank lines too. BadInput where a heading is missing or there
    twice, or where something stands above the first.
    """
    names = {heading: name for name, heading in HEADINGS.items()}
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    above = current
    for line in text.split("\n"):
        name = names.get(line.rstrip())
        if name is None:
            current.append(line)
        elif name in parts:
            raise _unreadable(f"The heading {HEADINGS[name]!r} is there twice.")
        else:
            current = parts[name] = []
    if missing := [heading for heading, name in names.items() if name not in parts]:
        raise _unreadable(f"The heading {missing[0]!r} is missing.")
    if any(line.strip() for line in above):
        raise _unreadable(f"There is a text above the first heading: {above[0][:40]!r}.")
    found = {name: "\n".join(lines).strip("\n") for name, lines in parts.items()}
    return {name: before[name] if found[name] == before[name].strip("\n") else found[name] for name in HEADINGS}


def _unreadable(what: str) -> BadInput:
    return BadInput(f"{what} Nothing was changed.", todo=f"Keep the lines {', '.join(HEADINGS.values())} as they are.")
