"""Whether an answer contains a word that a probe asks for, or forbids. Pure text."""

from __future__ import annotations

import re

from store.records import Probe


def contains(answer: str, term: str) -> bool:
    """Compared case-folded, and from the beginning of a word: "ember" is in "Ember's" but not in "September"; a number
    is a whole one, so that "7" is not in "1789", "70", "3.7" or "7.5".

    >>> contains("I am Ember's friend.", "ember"), contains("In September", "ember"), contains("In 1789", "7")
    (True, False, False)
    """
    words, term = answer.casefold(), term.casefold().strip()
    starts = r"(?<!\w)" if term[:1].isalnum() else ""
    starts += r"(?<!\d[.,])" if term[:1].isdigit() else ""
    ends = r"(?![.,]?\d)" if term[-1:].isdigit() else ""
    return bool(term) and re.search(starts + re.escape(term) + ends, words) is not None


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
