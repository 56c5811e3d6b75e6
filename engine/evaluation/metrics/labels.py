"""Metrics for answers that are one of a few labels, or a rating: accuracy, macro-F1, confusion, mean absolute error.
Reading the label out of an answer is strict: an answer that names two of them has none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.evaluation.metrics.base import Better, ScoredAnswer, ratio
from engine.evaluation.metrics.matching import words
from store.terms import contains

if TYPE_CHECKING:
    import numpy as np

NONE = "(none)"
"""What an answer counts as in which no label, or more than one, was found."""
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:[.,]\d+)?(?![\w]|[.,]\d)")
_SCALE = re.compile(r"(?<![\w.,])(-?\d+(?:[.,]\d+)?)\s*(?:/|out of|of|von|sur|分之)\s*\d+", re.IGNORECASE)
_STARS = re.compile("[★⭐]+")
_WORDS = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "一": 1.0, "二": 2.0, "两": 2.0, "三": 3.0,
          "四": 4.0, "五": 5.0}  # fmt: skip
_WORD = re.compile(r"\b(one|two|three|four|five)\b|([一二两三四五])(?=\s*[星分颗])", re.IGNORECASE)


def label_of(answer: str, labels: Sequence[str]) -> str:
    """The label that an answer gives: the one that it is, else the only one that it names; NONE for no or for two.

    >>> label_of("Positive.", ["positive", "negative"]), label_of("positive or negative", ["positive", "negative"])
    ('positive', '(none)')
    """
    said = words(answer)
    for label in labels:
        if words(label) == said:
            return label
    named = [label for label in labels if contains(answer, label)]
    longest = [one for one in named if not any(one != other and contains(other, one) for other in named)]
    return longest[0] if len(longest) == 1 else NONE


def rating_of(text: str) -> float | None:
    """The number that a text gives as a rating; None for none, or for several different ones.

    >>> rating_of("4 out of 5 stars"), rating_of("★★★☆☆"), rating_of("Between 2 and 3"), rating_of("五星")
    (4.0, 3.0, None, 5.0)
    """
    found = {_number(number) for number in _SCALE.findall(text)}
    if not found:
        found = {_number(number) for number in _NUMBER.findall(text)}
    if not found and (stars := _STARS.findall(text)):
        found = {float(len(run)) for run in stars}
    if not found:
        found = {_WORDS[(one or two).casefold()] for one, two in _WORD.findall(text)}
    return found.pop() if len(found) == 1 else None


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def shown(number: float) -> str:
    """A rating as a label: `4`, `4.5`."""
    return f"{number:g}"


class _Classes:
    """What label metrics share: how often each label was given for each. Columns: labels x (labels + none)."""

    better: Better = "higher"
    digits = 3

    def __init__(self, labels: Sequence[str], ratings: bool = False) -> None:
        self.labels, self.ratings = list(labels), ratings

    def predicted(self, answer: ScoredAnswer) -> str:
        """The label that an answer gives, or NONE."""
        if not self.ratings:
            return label_of(answer.answer, self.labels)
        number = rating_of(answer.answer)
        return shown(number) if number is not None and shown(number) in self.labels else NONE

    def wanted(self, answer: ScoredAnswer) -> str:
        """The label of the reference."""
        if not self.ratings:
            return label_of(answer.reference, self.labels)
        number = rating_of(answer.reference)
        return NONE if number is None else shown(number)

    def stats(self, answers: Sequence[ScoredAnswer]) -> np.ndarray:
        import numpy as np

        width = len(self.labels) + 1
        given = [*self.labels, NONE]
        counts = np.zeros((len(answers), len(self.labels) * width))
        for at, answer in enumerate(answers):
            counts[at, self.labels.index(self.wanted(answer)) * width + given.index(self.predicted(answer))] = 1
        return counts

    def _tables(self, sums: np.ndarray) -> np.ndarray:
        """Confusion tables, (n, labels, labels + 1): rows are what was wanted."""
        return sums.reshape(len(sums), len(self.labels), len(self.labels) + 1)

    @property
    def note(self) -> str:
        return "An answer that names no label, or several, counts as wrong."


class Accuracy(_Classes):
    """The share of answers with the right label."""

    name, title = "accuracy", "Accuracy"

    def value(self, sums: np.ndarray) -> np.ndarray:
        tables = self._tables(sums)
        right = tables[:, range(len(self.labels)), range(len(self.labels))].sum(axis=1)
        return ratio(right, tables.sum(axis=(1, 2)))


class MacroF1(_Classes):
    """F1 of each label, averaged over the labels that occur: scikit-learn's `f1_score(average="macro")` over them."""

    name, title = "macro_f1", "Macro-F1"

    def value(self, sums: np.ndarray) -> np.ndarray:
        import numpy as np

        tables = self._tables(sums)
        right = tables[:, range(len(self.labels)), range(len(self.labels))]
        wanted, given = tables.sum(axis=2), tables[:, :, : len(self.labels)].sum(axis=1)
        occurs = (wanted + given) > 0
        each = np.divide(2 * right, wanted + given, out=np.zeros_like(right), where=occurs)
        return ratio(each.sum(axis=1), occurs.sum(axis=1).astype(float))


class LabelFound(_Classes):
    """The share of answers in which exactly one label was found."""

    name, title, note = "label_found", "Label found", ""  # type: ignore[assignment]

    def value(self, sums: np.ndarray) -> np.ndarray:
        tables = self._tables(sums)
        return ratio(tables[:, :, :-1].sum(axis=(1, 2)), tables.sum(axis=(1, 2)))


class MeanAbsoluteError(_Classes):
    """How far the given ratings are from the wanted ones. An answer without a rating is as far off as one can be."""

    name, title = "mae", "Mean absolute error"
    better: Better = "lower"

    def stats(self, answers: Sequence[ScoredAnswer]) -> np.ndarray:
        import numpy as np

        scale = [float(label) for label in self.labels]
        found = []
        for answer in answers:
            wanted, given = float(self.wanted(answer)), self.predicted(answer)
            worst = max(abs(wanted - scale[0]), abs(wanted - scale[-1]))
            found.append((worst if given == NONE else abs(wanted - float(given)), 1.0))
        return np.array(found, float).reshape(-1, 2)

    def value(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[:, 0], sums[:, 1])

    @property
    def note(self) -> str:
        return "An answer without one rating on the scale counts as the largest error possible for its row."


def confusion(metric: _Classes, answers: Sequence[ScoredAnswer]) -> dict[str, dict[str, int]]:
    """How often each label was answered where each was wanted: {wanted: {given: times}}, zeros left out."""
    table = metric._tables(metric.stats(answers).sum(axis=0, keepdims=True))[0]
    given = [*metric.labels, NONE]
    return {
        label: {given[at]: int(times) for at, times in enumerate(row) if times}
        for label, row in zip(metric.labels, table, strict=True)
    }
