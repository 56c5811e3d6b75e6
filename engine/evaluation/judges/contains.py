"""The judge that looks for words: an answer must contain any of `must`, and none of `must_not`.
Pure text; nothing is asked."""

from __future__ import annotations

from engine.evaluation.client import CompletionClient
from engine.evaluation.judges.base import Judgement
from store.errors import BadInput
from store.records import Probe
from store.terms import contains


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

    How words are compared: `store.terms.contains`.
    """
    forbidden = next((term for term in probe.must_not if contains(answer, term)), None)
    if forbidden is not None:
        return Judgement(False, 0.0, f"contains {forbidden!r}")
    found = next((term for term in probe.must if contains(answer, term)), None)
    if found is not None:
        return Judgement(True, 1.0, f"contains {found!r}")
    if probe.must:
        return Judgement(False, 0.0, f"contains none of {', '.join(map(repr, probe.must))}")
    return Judgement(True, 1.0, f"contains none of {', '.join(map(repr, probe.must_not))}")
