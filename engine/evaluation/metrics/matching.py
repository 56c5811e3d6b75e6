"""Metrics that compare words: exact and normalised match, token F1. Pure text, in every language.

Words are cut as the search index cuts them (`store.search_text`): lower case, without accents, and each character of a
script without spaces is a word of its own. As in SQuAD (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250) signs
and the English articles do not count.
"""

from __future__ import annotations

from collections import Counter

from engine.evaluation.metrics.base import MeanMetric, ScoredAnswer
from store.search_text import is_word, tokens

_ARTICLES = frozenset(("a", "an", "the"))


def words(text: str) -> list[str]:
    """The words of a text that count.

    >>> words("The Café, 24 h!"), words("模型B。"), words("A")
    (['cafe', '24', 'h'], ['模', '型', 'b'], ['a'])
    """
    every = [word for word in tokens(text).split() if is_word(word)]
    return [word for word in every if word not in _ARTICLES] or every


def f1(answer: str, reference: str) -> float:
    """The harmonic mean of precision and recall over the words of both, each as often as it stands there.

    >>> round(f1("It was Paris", "Paris, France"), 2)
    0.4
    """
    one, two = words(answer), words(reference)
    if not one or not two:
        return float(one == two)
    common = sum((Counter(one) & Counter(two)).values())
    return 2 * common / (len(one) + len(two))


class ExactMatch(MeanMetric):
    """The answer is the reference, but for white space around it."""

    name, title = "exact", "Exact match"

    def score(self, answer: ScoredAnswer) -> float:
        return float(answer.answer.strip() == answer.reference.strip())


class NormalisedMatch(MeanMetric):
    """The words of the answer are those of the reference."""

    name, title = "match", "Normalised match"

    def score(self, answer: ScoredAnswer) -> float:
        return float(words(answer.answer) == words(answer.reference))


class TokenF1(MeanMetric):
    """`f1` of each answer, averaged."""

    name, title = "token_f1", "Token F1"

    def score(self, answer: ScoredAnswer) -> float:
        return f1(answer.answer, answer.reference)
