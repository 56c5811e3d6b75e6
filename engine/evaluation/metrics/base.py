"""What a metric is: statistics for each answer, and a value from their sums.
Every metric has this shape, so one bootstrap and one significance test serve all of them.

A value over many answers (accuracy, corpus BLEU, macro-F1, perplexity) is a function of the columns' sums: drawing the
answers again (resampling) only means weighting the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One answer as metrics see it. `passed` is a judge's word; `loss` is summed over the reference's `loss_tokens`."""

    question: str
    answer: str
    reference: str = ""
    passed: bool | None = None
    stop: str = "end"
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0
    loss: float | None = None
    loss_tokens: int | None = None


class AnswerMetric(Protocol):
    """Measures answers. `name` is what scripts read, `title` what people read, `digits` how many are worth reading."""

    name: str
    title: str
    better: Better
    digits: int

    def stats(self, answers: Sequence[ScoredAnswer]) -> np.ndarray:
        """Statistics of each answer: float64 of shape (answers, columns)."""
        ...

    def value(self, sums: np.ndarray) -> np.ndarray:
        """Values for rows of summed statistics, (n, columns) to (n,); NaN where there is nothing to measure."""
        ...

    @property
    def note(self) -> str:
        """What a reader must know of how it was counted; "" for nothing."""
        ...


class MeanMetric:
    """A metric that is the mean of one number for each answer. None leaves an answer out."""

    better: Better = "higher"
    digits = 3
    note = ""

    def score(self, answer: ScoredAnswer) -> float | None:
        """The number of one answer."""
        raise NotImplementedError

    def stats(self, answers: Sequence[ScoredAnswer]) -> np.ndarray:
        import numpy as np

        found = [self.score(each) for each in answers]
        return np.array([(0.0, 0.0) if one is None else (one, 1.0) for one in found], float).reshape(-1, 2)

    def value(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[:, 0], sums[:, 1])


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Elementwise quotient; NaN where there is nothing below the line."""
    import numpy as np

    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)
