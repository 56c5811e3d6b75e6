"""How certain a figure is: bootstrap intervals, the paired difference of two models, and its significance.
Pure arithmetic over the statistics of `metrics.base`; numpy only.

The interval of a figure is the percentile bootstrap over test rows (Efron 1979; for BLEU: Koehn 2004,
https://aclanthology.org/W04-3250): the rows are drawn again with replacement, the middle 95% of the values is the
interval. The same draws serve both models, so the interval of their difference is a paired one. The p of a difference
is by approximate randomisation (Noreen 1989; Riezler and Maxwell 2005, https://aclanthology.org/W05-0908): the two
answers to a row are swapped by the toss of a coin, and p is how often the difference becomes at least as large.

By hand, with four rows of which the first model gets one right and the second all: each of the 2^4 swaps is equally
likely, and a difference of 3/4 needs the three rows that differ swapped all or none: p = 2/8 = 0.25.

    >>> import numpy as np
    >>> from engine.evaluation.metrics.matching import ExactMatch
    >>> one = np.array([[1.0, 1], [0, 1], [0, 1], [0, 1]])
    >>> two = np.array([[1.0, 1], [1, 1], [1, 1], [1, 1]])
    >>> found = compared(ExactMatch(), one, two)
    >>> round(found.difference, 2), round(found.p, 2)
    (0.75, 0.25)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from engine.evaluation.metrics.base import AnswerMetric

if TYPE_CHECKING:
    import numpy as np

DRAWS = 2000
_SEED = 20_230_119
_ALL_SWAPS = 11
"""Up to so many rows that differ, every swap is tried instead of drawing some."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric over some answers with its 95% interval; None when nothing could be measured."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The second model's value minus the first's, with its 95% interval and p."""

    difference: float
    low: float
    high: float
    p: float


class SummedStatistic(Protocol):
    """What an interval needs of a metric: its value from summed statistics, (n, columns) to (n,)."""

    def value(self, sums: np.ndarray) -> np.ndarray: ...


def figure(metric: SummedStatistic, stats: np.ndarray) -> Figure:
    """The value of a metric with its interval."""
    import numpy as np

    if not len(stats):
        return Figure(None, None, None)
    with np.errstate(all="ignore"):
        value = float(metric.value(stats.sum(axis=0, keepdims=True))[0])
        drawn = metric.value(_weights(len(stats)) @ stats)
    if math.isnan(value):
        return Figure(None, None, None)
    low, high = _middle(drawn)
    return Figure(value, low, high)


def compared(metric: AnswerMetric, one: np.ndarray, two: np.ndarray) -> Difference | None:
    """How much the second is above the first on the same rows; None when either could not be measured.

    Both are statistics of the same rows in the same order.
    """
    import numpy as np

    if not len(one):
        return None
    with np.errstate(all="ignore"):
        sums = np.stack([one.sum(axis=0), two.sum(axis=0)])
        first, second = metric.value(sums)
        if math.isnan(first) or math.isnan(second):
            return None
        weights = _weights(len(one))
        low, high = _middle(metric.value(weights @ two) - metric.value(weights @ one))
        found = abs(second - first)
        swaps = _swaps(one, two)
        moved = swaps @ (two - one)
        differences = np.abs(metric.value(sums[1] - moved) - metric.value(sums[0] + moved))
    large = int(np.sum(differences >= found - 1e-12))
    every = len(swaps) == 2 ** _differing(one, two).sum()
    p = large / len(swaps) if every else (large + 1) / (len(swaps) + 1)
    return Difference(float(second - first), low, high, min(1.0, p))


def paired_shares(one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the difference of two shares of the same checks, from statistics (passed, 1) of each check.

    Drawing the rows again says nothing where no check differs: its interval is then zero wide, though one more check
    might have differed. Agresti and Min (2005, Statistics in Medicine 24, pp. 729-740) add half a check to each of the
    four outcomes: with b and c the checks that only the second and only the first passed, and n all of them, it is
    (b - c) / (n + 2) plus or minus 1.96 sqrt(b + c + 1 - (b - c)^2 / (n + 2)) / (n + 2).

    By hand, 40 checks of which none differs: 0 plus or minus 1.96 / 42.

    >>> import numpy as np
    >>> same = np.array([[1.0, 1]] * 30 + [[0, 1]] * 10)
    >>> [round(each, 4) for each in paired_shares(same, same)]
    [-0.0467, 0.0467]
    """
    judged = (one[:, 1] > 0) & (two[:, 1] > 0)
    change = two[judged, 0] - one[judged, 0]
    gained, lost, n = float((change > 0).sum()), float((change < 0).sum()), int(judged.sum()) + 2
    middle = (gained - lost) / n
    half = 1.959964 * math.sqrt(gained + lost + 1 - (gained - lost) ** 2 / n) / n
    return middle - half, middle + half


def _weights(rows: int) -> np.ndarray:
    """How often each row is drawn, (draws, rows). The same for the same number of rows."""
    import numpy as np

    return np.random.default_rng(_SEED).multinomial(rows, np.full(rows, 1 / rows), size=DRAWS).astype(float)


def _differing(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    found: np.ndarray = (one != two).any(axis=1)
    return found


def _swaps(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Which rows are swapped, (swaps, rows): all ways where few rows differ, else drawn ones."""
    import numpy as np

    at = np.flatnonzero(_differing(one, two))
    if len(at) <= _ALL_SWAPS:
        swaps = np.zeros((2 ** len(at), len(one)))
        for column, row in enumerate(at):
            swaps[:, row] = (np.arange(len(swaps)) >> column) & 1
        return swaps
    return np.random.default_rng(_SEED + 1).integers(0, 2, (DRAWS, len(one))).astype(float)


def _middle(drawn: np.ndarray) -> tuple[float, float]:
    import numpy as np

    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
