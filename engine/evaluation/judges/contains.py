"""The judge that looks for words: an answer must contain any of `must`, and none of `must_not`.
Pure text; nothing is asked."""

from __future__ import annotations

from engine.evaluation.client import CompletionClient
from engine.evaluation.judges.base import Judgement
from store.errors import BadInput
from store.records import Probe
from store.terms import judged


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
    """Whether the answer contains any of `must` (if there are any) and none of `must_not`; see `store.terms`."""
    passed, reason = judged(probe, answer)
    return Judgement(passed, float(passed), reason)
