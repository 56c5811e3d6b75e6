"""Whether an adapter is large enough for what it is to learn. Only numbers.

Sources: "LoRA Without Regret" (Schulman and Thinking Machines Lab, 2025, https://thinkingmachines.ai/blog/lora/): LoRA
learns as well as full tuning until the data holds more than the adapter's capacity, about two bits a weight, with about
one bit of information in a trained token; two bits a weight: Allen-Zhu and Li, "Physics of Language Models: Part 3.3,
Knowledge Capacity Scaling Laws", https://arxiv.org/abs/2404.05405.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.training.config import TrainConfig
from engine.training.methods import meant_by
from engine.training.model_facts import ModelFacts

BITS_PER_WEIGHT = 2
BITS_PER_TOKEN = 1
_LINEAR_LAYERS = 7  # of a block: q, k, v, o, gate, up, down


@dataclass(frozen=True, slots=True)
class Capacity:
    """An adapter's `weights` (about: its layers count as square ones of the mean size), and the trained tokens of the
    data, each counted once however often it is seen."""

    weights: int
    tokens: int

    @property
    def enough(self) -> bool:
        """Whether the adapter can hold what the data says."""
        return self.weights * BITS_PER_WEIGHT >= self.tokens * BITS_PER_TOKEN

    def __str__(self) -> str:
        """Both numbers and the verdict.

        >>> print(Capacity(4_900_000, 6_074))
        about 4.9 million adapter weights hold 9.8 million bits; the data has 6,074 trained tokens: enough
        """
        bits = _short(self.weights * BITS_PER_WEIGHT)
        verdict = "enough" if self.enough else "too few: raise the rank"
        return (
            f"about {_short(self.weights)} adapter weights hold {bits} bits; the data has {self.tokens:,} trained"
            f" tokens: {verdict}"
        )


def capacity(config: TrainConfig, facts: ModelFacts, trained_tokens: int) -> Capacity:
    """The capacity of a configuration's adapter on a model, beside the trained tokens of its data."""
    method = meant_by(config.method)[0]
    weights = method.trained(config, facts)
    if "targets" in method.fields and not isinstance(config.targets, str):
        weights *= min(1.0, len(config.targets) / _LINEAR_LAYERS)
    return Capacity(round(weights), trained_tokens)


def _short(number: float) -> str:
    """A number as it is read.

    >>> _short(4_900_000), _short(12_345)
    ('4.9 million', '12,345')
    """
    return f"{number / 1e6:.1f} million" if number >= 1e6 else f"{number:,.0f}"
