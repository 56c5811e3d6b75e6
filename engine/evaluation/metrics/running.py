"""Metrics that need no reading of the answer: loss and perplexity of the reference, length, how answers ended, speed,
and what a judge said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.evaluation.metrics.base import Better, MeanMetric, ScoredAnswer, ratio

if TYPE_CHECKING:
    import numpy as np


class ReferenceLoss:
    """The mean of -log p over all tokens of the reference answers, as training and validation loss count it."""

    name, title, digits, note = "loss", "Loss of references", 3, ""
    better: Better = "lower"

    def stats(self, answers: Sequence[ScoredAnswer]) -> np.ndarray:
        import numpy as np

        return np.array([(each.loss or 0.0, each.loss_tokens or 0) for each in answers], float).reshape(-1, 2)

    def value(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[:, 0], sums[:, 1])


class Perplexity(ReferenceLoss):
    """e to the power of the loss."""

    name, title, digits = "perplexity", "Perplexity", 2

    def value(self, sums: np.ndarray) -> np.ndarray:
        import numpy as np

        return np.exp(super().value(sums))


class Passed(MeanMetric):
    """The share of answers that a judge passed."""

    name, title = "passed", "Passed"

    def score(self, answer: ScoredAnswer) -> float | None:
        return None if answer.passed is None else float(answer.passed)


class AnswerLength(MeanMetric):
    """Tokens of an answer."""

    name, title, digits = "length", "Tokens per answer", 1
    better: Better = "neither"

    def score(self, answer: ScoredAnswer) -> float:
        return float(answer.tokens)


class PromptLength(MeanMetric):
    """Tokens of what was read before the answer."""

    name, title, digits = "prompt_length", "Tokens per prompt", 1
    better: Better = "neither"

    def score(self, answer: ScoredAnswer) -> float:
        return float(answer.prompt_tokens)


class StopRate(MeanMetric):
    """The share of answers that ended by themselves and not at the longest length."""

    name, title = "stop_rate", "Ended by itself"

    def score(self, answer: ScoredAnswer) -> float:
        return float(answer.stop == "end")


class Latency(MeanMetric):
    """Seconds from the question to the end of the answer."""

    name, title, digits = "seconds", "Seconds per answer", 2
    better: Better = "neither"

    def score(self, answer: ScoredAnswer) -> float:
        return answer.seconds


class Speed:
    """Tokens of all answers by the seconds that they took, the reading of the prompts included."""

    name, title, digits, note = "tokens_per_s", "Tokens per second", 1, ""
    better: Better = "neither"

    def stats(self, answers: Sequence[ScoredAnswer]) -> np.ndarray:
        import numpy as np

        return np.array([(each.tokens, each.seconds) for each in answers], float).reshape(-1, 2)

    def value(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[:, 0], sums[:, 1])
