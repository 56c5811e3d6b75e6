"""Whether an answer contains a word that a probe asks for, or forbids. Pure text."""

from __future__ import annotations

import re

from store.records import Probe
from store.search_text import unspaced


def contains(answer: str, term: str) -> bool:
    """Compared case-folded, and from the beginning of a word: "ember" is in "Ember's" but not in "September"; a number
    is a whole one, so that "7" is not in "1789", "70", "3.7" or "7.5". Scripts that write no spaces between words have
    no beginnings to look for.

    >>> contains("I am Ember's friend.", "ember"), contains("In September", "ember"), contains("In 1789", "7")
    (True, False, False)
    >>> contains("我叫小星。", "小星"), contains("我叫Ember。", "Ember")
    (True, True)
    """
    words, term = answer.casefold(), term.casefold().strip()
    if not term:
        return False
    inside = r"(?<!\d[.,])" if term[0].isdigit() else ""
    ends = r"(?![.,]?\d)" if term[-1].isdigit() else ""
    places = (found.start() for found in re.finditer(inside + re.escape(term) + ends, words))
    return any(_begins(words, place) for place in places)


def _begins(words: str, place: int) -> bool:
    """Whether a word may begin there."""
    first, before = words[place], words[place - 1 : place]
    if not before or not first.isalnum() or unspaced(first) or unspaced(before):
        return True
    return not (before.isalnum() or before == "_")


def judged(probe: Probe, answer: str) -> tuple[bool, str]:
    """Whether the answer contains any of the probe's `must` (if there are any) and none of its `must_not`; and why."""
    forbidden = next((term for term in probe.must_not if contains(answer, term)), None)
    if forbidden is not None:
        return False, f"contains {forbidden!r}"
    found = next((term for term in probe.must if contains(answer, term)), None)
    if found is not None:
        return True, f"contains {found!r}"
    return not probe.must, f"contains none of {', '.join(map(repr, probe.must or probe.must_not))}"


def passes(probe: Probe, answer: str) -> bool:
    """The first half of `judged`."""
    return judged(probe, answer)[0]
