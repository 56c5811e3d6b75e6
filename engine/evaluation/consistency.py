"""How consistent a model is: whether the same question, in other words and with other seeds, gets the same facts.
Pure, over answers that were judged; asking is probes.py's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from engine.evaluation.probes import ProbeOutcome
from store.records import Probe
from store.search_text import tokens


@dataclass(frozen=True, slots=True)
class FactGroup:
    """One question in all its wordings and seeds: the `answers` that were judged, `passed` of them good. `agreement` is
    the share of the pairs of them that agree."""

    name: str
    answers: int
    passed: int
    agreement: float


@dataclass(frozen=True, slots=True)
class Consistency:
    """The mean agreement of the groups with more than one answer, each counting the same, and how many of them always
    gave the same facts. Of the answers in such groups `not_judged` were left out."""

    share: float
    always: int
    groups: tuple[FactGroup, ...]
    not_judged: int = 0


def measure(probes: Sequence[Probe], items: Sequence[ProbeOutcome]) -> Consistency | None:
    """The consistency of a result. `items` hold the same number of answers for each probe, those of one together; a
    group are all answers to the probes with the same `same`, or to one probe without it. None where no group has two
    that were judged; an answer that was not judged agrees with none and counts in no group.

    Two answers give the same facts when both were judged good, or when both were not and say the same words: a model
    that is always wrong in the same way is consistent, one that makes up something new each time is not.

    >>> def answered(*said): return [ProbeOutcome("Q", text, text == "89", 0.0, "") for text in said]
    >>> measure([Probe("p", "Q", ("89",))], answered("89", "89", "89", "95")).share
    0.5
    >>> measure([Probe("p", "Q", ("89",))], answered("95", "95")).share
    1.0
    """
    if not probes:
        return None
    each = len(items) // len(probes)
    grouped: dict[tuple[str, int], list[ProbeOutcome]] = {}
    for n, probe in enumerate(probes):
        key = (probe.same, -1) if probe.same else (probe.question, n)
        grouped.setdefault(key, []).extend(items[n * each : (n + 1) * each])
    judged = {key: [item for item in own if item.passed is not None] for key, own in grouped.items()}
    groups = tuple(
        FactGroup(name, len(own), sum(bool(item.passed) for item in own), _agreement(own))
        for (name, _), own in judged.items()
        if len(own) > 1
    )
    left = sum(len(own) - len(judged[key]) for key, own in grouped.items() if len(own) > 1)
    if not groups:
        return None
    share = sum(group.agreement for group in groups) / len(groups)
    return Consistency(share, sum(group.agreement == 1 for group in groups), groups, left)


def _agreement(items: Sequence[ProbeOutcome]) -> float:
    """The share of pairs that agree, of answers that were judged: the chance that two drawn from the group do."""
    counts = Counter("good" if item.passed else f"not {' '.join(tokens(item.text).split())}" for item in items)
    pairs = len(items) * (len(items) - 1)
    return sum(many * (many - 1) for many in counts.values()) / pairs
