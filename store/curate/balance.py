"""Balance: what a set of pairs is made of, and what that will probably teach.
Counts and plain advice; the thresholds come from measured runs and are named here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from store.curate.duplicates import normal
from store.curate.findings import PairLike

MOST_IDENTITY = 0.75
"""Above this share of identity pairs the model forgets what it knew: a third of general rows prevents that."""
FEW = 20
"""Fewer pairs than this rarely teach more than their own wording."""
ONE_OPENING = 0.5
"""Above this share of questions that open with the same two words the wordings are too alike."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What a set is made of. Lengths are in characters: median and longest."""

    pairs: int
    kinds: dict[str, int]
    systems: int
    question_length: tuple[int, int]
    answer_length: tuple[int, int]
    openings: list[tuple[str, int]]
    advice: list[str] = field(default_factory=list)


def balance(pairs: Iterable[PairLike]) -> Balance:
    """The make-up of a set of pairs, with advice; of an empty set, zeros."""
    pairs = list(pairs)
    kinds = Counter(pair.kind for pair in pairs)
    openings = Counter(" ".join(normal(pair.question).split()[:2]) for pair in pairs).most_common(5)
    return Balance(
        pairs=len(pairs),
        kinds=dict(kinds),
        systems=len({pair.system for pair in pairs}),
        question_length=_lengths(pair.question for pair in pairs),
        answer_length=_lengths(pair.answer for pair in pairs),
        openings=openings,
        advice=_advice(len(pairs), kinds, openings),
    )


def _lengths(texts: Iterable[str]) -> tuple[int, int]:
    lengths = sorted(map(len, texts))
    return (lengths[len(lengths) // 2], lengths[-1]) if lengths else (0, 0)


def _advice(count: int, kinds: Counter[str], openings: list[tuple[str, int]]) -> list[str]:
    advice = []
    if count and kinds["identity"] / count > MOST_IDENTITY:
        share = round(100 * kinds["identity"] / count)
        advice.append(f"{share}% are identity pairs: mix in general ones (a third), or the model forgets what it knew.")
    if 0 < count < FEW:
        advice.append(f"{count} pairs teach little more than their own wording: {FEW} or more are better.")
    if count >= FEW and openings[0][1] / count > ONE_OPENING:
        advice.append(f"{openings[0][1]} of {count} questions begin with {openings[0][0]!r}: vary the wording.")
    return advice
