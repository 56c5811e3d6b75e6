"""The judge that looks for words: an answer must contain any of `must`, and none of `must_not`.
Pure text; nothing is asked."""

from __future__ import annotations

import re

from engine.evaluation.client import CompletionClient
from engine.evaluation.judges.base import Judgement
from store.errors import BadInput
from store.records import Probe


class ContainsJudge:
    """Passed or not; the score is 1 or 0."""

    name = "contains"
    help = "any of `must` and none of `must_not` is in the answer"

    def check(self, probe: Probe) -> None:
        """BadInput for a probe that every answer would pass."""
        if not probe.must and not probe.must_not:
            raise BadInput("The probe cannot fail: it has neither must nor must_not.", todo="Add a must.")

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        """`judgement`; no model is asked."""
        return judgement(probe, answer)


def judgement(probe: Probe, answer: str) -> Judgement:
    """Whether the answer contains any of `must` (if there are any) and none of `must_not`.

    Compared case-folded, and from the beginning of a word: "ember" is in "Ember's" but not in "September"; a number
    is a whole one, so that "7" is not in "1789", "70", "3.7" or "7.5".
    """
    words = answer.casefold()
    forbidden = next((term for term in probe.must_not if _contains(words, term)), None)
    if forbidden is not None:
        return Judgement(False, 0.0, f"contains {forbidden!r}")
    found = next((term for term in probe.must if _contains(words, term)), None)
    if found is not None:
        return Judgement(True, 1.0, f"contains {found!r}")
    if probe.must:
        return Judgement(False, 0.0, f"contains none of {', '.join(map(repr, probe.must))}")
    return Judgement(True, 1.0, f"contains none of {', '.join(map(repr, probe.must_not))}")


def _contains(words: str, term: str) -> bool:
    term = term.casefold().strip()
    starts = r"(?<!\w)" if term[:1].isalnum() else ""
    starts += r"(?<!\d[.,])" if term[:1].isdigit() else ""
    ends = r"(?![.,]?\d)" if term[-1:].isdigit() else ""
    return bool(term) and re.search(starts + re.escape(term) + ends, words) is not None
