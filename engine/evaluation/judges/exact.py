"""The judge that compares: an answer must be one of `must`, but for case, signs and white space around it.
Pure text; nothing is asked."""

from __future__ import annotations

from engine.evaluation.client import CompletionClient
from engine.evaluation.judges.base import Judgement
from engine.evaluation.metrics.matching import words
from store.errors import BadInput
from store.records import Probe


class ExactJudge:
    """Passed or not; the words of the answer are compared with those of each `must`."""

    name = "exact"
    help = "the words of the answer are those of a `must`"

    def check(self, probe: Probe) -> None:
        """BadInput for a probe without `must`, or with a `must_not`, which means nothing here."""
        if not probe.must or probe.must_not:
            raise BadInput("The judge exact needs a must, and no must_not.", todo='Write {"must": ["yes"]}.')

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        """`judgement`; no model is asked."""
        return judgement(probe, answer)


def judgement(probe: Probe, answer: str) -> Judgement:
    """Whether the answer is one of `must`.

    >>> judgement(Probe("p", "Yes or no?", ("yes",)), "Yes.").passed
    True
    """
    said = words(answer)
    found = next((term for term in probe.must if words(term) == said), None)
    return Judgement(found is not None, float(found is not None), f"is {found!r}" if found else "is something else")
