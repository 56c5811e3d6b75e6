"""The judge that looks for a number, strictly: an answer that also gives another number contradicts itself.
Pure text; nothing is asked."""

from __future__ import annotations

import re

from engine.evaluation.client import CompletionClient
from engine.evaluation.judges.base import Judgement
from store.errors import BadInput
from store.records import Probe

_NUMBER = re.compile(r"(?<![\w.])[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w*\d)")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
_WORKING = re.compile(r"[-+−*/×÷]\s*\d")


def numbers(text: str) -> list[float]:
    """The numbers of a text, those written as digits or as words up to twelve, in order.

    >>> numbers("Between −18 °C and 1,000.5, so two.")
    [-18.0, 1000.5, 2.0]
    """
    return [number for _, _, number in placed(text)]


def placed(text: str) -> list[tuple[int, int, float]]:
    """The same with where each begins and ends."""
    found = [(m.start(), m.end(), float(m.group().replace(",", "").replace("−", "-"))) for m in _NUMBER.finditer(text)]
    found += [(m.start(), m.end(), float(_WORDS.index(m.group().casefold()))) for m in _WORD.finditer(text)]
    return sorted(found)


class NumericJudge:
    """Passed when the answer gives the number of `must`, and no other than those of the question."""

    name = "numeric"
    help = "the only new number in the answer is the one in `must`"

    def check(self, probe: Probe) -> None:
        """BadInput when `must` is not numbers."""
        if not probe.must or not all(len(numbers(term)) == 1 for term in probe.must):
            raise BadInput("The judge numeric needs a must of numbers.", todo='Write {"must": ["4"]}.')

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        """`judgement`; no model is asked."""
        return judgement(probe, answer)


def judgement(probe: Probe, answer: str) -> Judgement:
    """Whether the answer gives one of the wanted numbers and no other. Numbers of the question may be repeated; where
    there is working (`3 * 4 = 12`), what stands after the last equals sign counts.

    >>> freezer = Probe("p", "How cold is a freezer?", ("-18",))
    >>> judgement(freezer, "It is -18 °C.").passed, judgement(freezer, "It is -18 °C, that is 0 °C.").passed
    (True, False)
    """
    wanted = {number for term in probe.must for number in numbers(term)}
    said = answer
    if "=" in answer and _WORKING.search(answer):
        said = answer.rpartition("=")[2]
    given = numbers(said)
    if not wanted & set(given):
        return Judgement(False, 0.0, f"does not give {' or '.join(probe.must)}")
    asked = set(numbers(probe.question))
    others = [number for number in given if number not in wanted and number not in asked]
    if others:
        return Judgement(False, 0.0, f"also gives {others[0]:g}")
    return Judgement(True, 1.0, f"gives {next(number for number in given if number in wanted):g}")
