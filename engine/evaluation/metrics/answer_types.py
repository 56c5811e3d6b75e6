"""What kind of answers a test set asks for, read off its reference answers. Pure text.
The user may say it instead; nothing else depends on how it was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from engine.evaluation.metrics.labels import NONE, label_of, rating_of, shown
from engine.evaluation.metrics.matching import words
from store.errors import BadInput

AnswerType = Literal["rating", "label", "short", "text", "check"]
_OF_RATINGS = frozenset(
    ("star", "stars", "point", "points", "out", "of", "one", "two", "three", "four", "five", *"一二两三四五星分颗")
)
_MOST_LABELS, _LONGEST_LABEL, _SHORT = 20, 4, 12


def guess(references: Sequence[str]) -> AnswerType:
    """The type of the reference answers.

    Ratings are at most eleven different numbers from 0 to 10, with nothing beside them but "stars", "points", "out of";
    labels at most 20 different texts of at most four words that come back at least three times each on average; a short
    answer has at most twelve words on average.

    >>> guess(["5 stars", "1 star", "3 stars"]), guess(["yes", "no"] * 4), guess(["Paris", "Rome", "Oslo"])
    ('rating', 'label', 'short')
    """
    if not references:
        return "text"
    cut = [words(each) for each in references]
    ratings = [rating_of(each) for each in references]
    rated = all(one is not None and 0 <= one <= 10 and _bare(each) for one, each in zip(ratings, cut, strict=True))
    if rated and len(set(ratings)) <= 11 and len(references) > 1:
        return "rating"
    different = {" ".join(each) for each in cut}
    short = max(map(len, cut)) <= _LONGEST_LABEL
    if short and 2 <= len(different) <= _MOST_LABELS and len(references) >= 3 * len(different):
        return "label"
    return "short" if sum(map(len, cut)) / len(cut) <= _SHORT else "text"


def _bare(cut: Sequence[str]) -> bool:
    """Whether the words of a reference are a rating's and no others."""
    return len(cut) <= 5 and all(word.isdigit() or word in _OF_RATINGS for word in cut)


def labels_of(kind: AnswerType, references: Sequence[str]) -> list[str]:
    """The labels that the references use, in order. BadInput when a reference is not one of a rating scale's numbers,
    or cannot be told from other labels."""
    if kind == "rating":
        numbers = [rating_of(each) for each in references]
        if bad := next((each for each, one in zip(references, numbers, strict=True) if one is None), None):
            what = f"A reference answer gives no rating: {bad[:60]!r}."
            raise BadInput(what, where="type", todo="Correct it, or choose another type of answer.")
        return [shown(number) for number in sorted({one for one in numbers if one is not None})]
    named: dict[str, str] = {}
    for each in references:
        named.setdefault(" ".join(words(each)), each.strip())
    labels = sorted(named.values())
    if bad := next((each for each in labels if label_of(each, labels) == NONE), None):
        what = f"The reference {bad[:60]!r} cannot be told from other labels."
        raise BadInput(what, where="type", todo="Choose another type of answer.")
    return labels
