"""What differs between two texts, word by word.
Pure; no widget, no colour."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

_PIECES = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]|\s+")
LONGEST = 4_000
"""Words of a side that are compared one by one; more would take seconds."""

Marked = list[tuple[str, bool]]
"""Pieces of a text in order; True marks what the other side lacks."""


@dataclass(frozen=True, slots=True)
class WordDiff:
    """Both texts in marked pieces. `alike` is the share of words that both have in the same order, 0 to 1; signs count
    only where neither text has a word, so that two answers that share a full stop are not alike."""

    a: Marked
    b: Marked
    alike: float


def word_diff(a: str, b: str) -> WordDiff:
    """Compare two texts; white space alone never counts as a difference."""
    one, two = _words(a), _words(b)
    if max(len(one), len(two)) > LONGEST:
        same = a == b
        return WordDiff([(a, not same)], [(b, not same)], 1.0 if same else 0.0)
    matcher = SequenceMatcher(None, [w for w, _ in one], [w for w, _ in two], autojunk=False)
    marks_a, marks_b = [True] * len(one), [True] * len(two)
    for start_a, start_b, size in matcher.get_matching_blocks():
        marks_a[start_a : start_a + size] = [False] * size
        marks_b[start_b : start_b + size] = [False] * size
    return WordDiff(_joined(one, marks_a), _joined(two, marks_b), _alike(one, two, marks_a))


def _alike(one: list[tuple[str, str]], two: list[tuple[str, str]], only_one: list[bool]) -> float:
    """The share of words that both texts have. 1 only for texts without any difference.

    >>> word_diff("Yes, it is.", "No. Never.").alike, word_diff("I am Ember.", "I am Bolt.").alike
    (0.0, 0.6666666666666666)
    """
    words, others = ([word[0].isalnum() or word[0] == "_" for word, _ in side] for side in (one, two))
    longest = max(sum(words), sum(others))
    counted = words if longest else [True] * len(one)
    longest = longest or max(len(one), len(two))
    common = sum(is_word and not only for is_word, only in zip(counted, only_one, strict=True))
    same = [word.strip() for word, _ in one] == [word.strip() for word, _ in two]
    return 1.0 if same else min(common / longest, 0.999)


def _words(text: str) -> list[tuple[str, str]]:
    """Words and signs, each with the white space after it."""
    out: list[tuple[str, str]] = []
    for piece in _PIECES.findall(text):
        if piece.isspace() and out:
            out[-1] = (out[-1][0], out[-1][1] + piece)
        elif not piece.isspace():
            out.append((piece, ""))
    return out


def _joined(words: list[tuple[str, str]], marks: list[bool]) -> Marked:
    """Neighbours with the same mark as one piece; white space is marked only between two marked words."""
    out: Marked = []

    def add(text: str, mark: bool) -> None:
        if text and out and out[-1][1] == mark:
            out[-1] = (out[-1][0] + text, mark)
        elif text:
            out.append((text, mark))

    for n, ((word, space), mark) in enumerate(zip(words, marks, strict=True)):
        add(word, mark)
        add(space, mark and n + 1 < len(marks) and marks[n + 1])
    return out


def inline(before: str, after: str) -> list[tuple[str, str]]:
    """One text out of two: pieces in order with "-" (only before), "+" (only after) or "" (in both).

    >>> inline("Under Orders.", "Under your Orders!")
    [('Under ', ''), ('your ', '+'), ('Orders', ''), ('.', '-'), ('!', '+')]
    """
    one, two = _PIECES.findall(before), _PIECES.findall(after)
    if max(len(one), len(two)) > LONGEST:
        return [(before, "")] if before == after else [(before, "-"), (after, "+")]
    out: list[tuple[str, str]] = []
    for tag, a, b, c, d in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        for text, sign in (("".join(one[a:b]), "" if tag == "equal" else "-"), ("".join(two[c:d]), "+")):
            if text and not (tag == "equal" and sign == "+"):
                out.append((text, sign))
    return out


def marked_text(before: str, after: str) -> str:
    """`inline` without colours, as `git diff --word-diff` writes it.

    >>> marked_text("Under Orders.", "Under your Orders!")
    'Under {+your +}Orders[-.-]{+!+}'
    """
    signs = {"": "{}", "-": "[-{}-]", "+": "{{+{}+}}"}
    return "".join(signs[sign].format(text) for text, sign in inline(before, after))
