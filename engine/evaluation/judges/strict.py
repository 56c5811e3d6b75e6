"""The judge that looks for words, strictly: an answer that says the right thing and contradicts it fails.
Pure text; nothing is asked."""

from __future__ import annotations

import re

from engine.evaluation.client import CompletionClient
from engine.evaluation.judges import contains
from engine.evaluation.judges.base import Judgement
from engine.evaluation.judges.numeric import numbers, placed
from store.records import Probe

_CLAUSE = re.compile(r"[.,;:!?…\n。，；：！？]|\b(?:but|and|or)\b|但|而")
_DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor)|n['’]t|(?:不|并非|没有?)[是叫为]?)(?!\s+(?:only|just|merely)\b)\W*(?:\w+\W+){0,2}$",
    re.IGNORECASE,
)
_UNIT = re.compile(r"\s*(°?[^\W\d_]+|[%°])")
_MONEY = "$€£¥"
_ANSWER = re.compile(r"(?:^|[.!?\n]\s*)(yes|no)\b(?=\s*[,.!\n]|\s*$)", re.IGNORECASE)


class StrictJudge:
    """Passed or not; the score is 1 or 0."""

    name = "strict"
    help = "like contains, and the answer does not contradict itself"

    def check(self, probe: Probe) -> None:
        """BadInput for a probe that every answer would pass."""
        contains.ContainsJudge().check(probe)

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        """`judgement`; no model is asked."""
        return judgement(probe, answer)


def judgement(probe: Probe, answer: str) -> Judgement:
    """Whether the answer passes as `contains` has it, and none of this is found: a term of `must` that is denied, a
    second number of the same unit beside one of `must`, or a yes as well as a no. It sees forms, not meanings: two
    statements that exclude each other otherwise pass; name the wrong one in `must_not`.

    >>> price = Probe("p", "What does it cost?", ("89",))
    >>> judgement(price, "It costs 89 crowns.").passed
    True
    >>> judgement(price, "It costs 89 crowns. The price is 95 crowns.").reason
    'also gives 95'
    >>> judgement(Probe("p", "Who are you?", ("Ember",)), "I am Ember. My name is not Ember.").reason
    "denies 'Ember'"
    """
    found = contains.judgement(probe, answer)
    if not found.passed:
        return found
    against = _denied(probe, answer) or _rival(probe, answer) or _both(answer)
    return Judgement(False, 0.0, against) if against else found


def _denied(probe: Probe, answer: str) -> str:
    """A term that stands after a negation in its clause."""
    for term in probe.must:
        for place in re.finditer(re.escape(term.strip()), answer, re.IGNORECASE):
            clause = _CLAUSE.split(answer[: place.start()])[-1]
            if contains.judgement(Probe("", "", (term,)), answer[place.start() :]).passed and _DENIED.search(clause):
                return f"denies {term!r}"
    return ""


def _rival(probe: Probe, answer: str) -> str:
    """A number that is neither wanted nor in the question, with the unit of one that is wanted."""
    wanted = {number for term in probe.must for number in numbers(term)}
    asked = set(numbers(probe.question))
    given = [(number, _unit(answer, start, end)) for start, end, number in placed(answer)]
    units = {unit for number, unit in given if number in wanted}
    for number, unit in given:
        if unit in units and number not in wanted | asked:
            return f"also gives {number:g}"
    return ""


def _unit(text: str, start: int, end: int) -> str:
    """What a number counts: the word after it, or the sign of money before it; "" where it stands alone."""
    if start and text[start - 1] in _MONEY:
        return text[start - 1]
    after = _UNIT.match(text, end)
    return after.group(1).casefold().removesuffix("s") if after else ""


def _both(answer: str) -> str:
    said = {match.group(1).casefold() for match in _ANSWER.finditer(answer)}
    return "says yes and no" if len(said) == 2 else ""
