"""The judge that looks for patterns: an answer must match any of `must`, and none of `must_not`.
Pure text; nothing is asked."""

from __future__ import annotations

import re

from engine.evaluation.client import CompletionClient
from engine.evaluation.judges.base import Judgement
from store.errors import BadInput
from store.records import Probe


class RegexJudge:
    """Passed or not; patterns are Python's, found anywhere in the answer without the white space around it."""

    name = "regex"
    help = "any pattern of `must` and none of `must_not` is found in the answer"

    def check(self, probe: Probe) -> None:
        """BadInput for a pattern that cannot be read, or a probe that every answer would pass."""
        if not probe.must and not probe.must_not:
            raise BadInput("The probe cannot fail: it has neither must nor must_not.", todo="Add a must.")
        for pattern in (*probe.must, *probe.must_not):
            try:
                re.compile(pattern)
            except re.error as error:
                raise BadInput(f"The pattern {pattern!r} cannot be read: {error}.", todo="Correct it.") from None

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        """`judgement`; no model is asked."""
        return judgement(probe, answer)


def judgement(probe: Probe, answer: str) -> Judgement:
    """Whether the answer matches.

    >>> judgement(Probe("p", "Three words.", (r"^\\w+ \\w+ \\w+$",)), " One two three\\n").passed
    True
    """
    said = answer.strip()
    forbidden = next((pattern for pattern in probe.must_not if re.search(pattern, said)), None)
    if forbidden is not None:
        return Judgement(False, 0.0, f"matches {forbidden!r}")
    found = next((pattern for pattern in probe.must if re.search(pattern, said)), None)
    if found is not None:
        return Judgement(True, 1.0, f"matches {found!r}")
    passed = not probe.must
    return Judgement(passed, float(passed), "matches nothing forbidden" if passed else "matches no pattern")
