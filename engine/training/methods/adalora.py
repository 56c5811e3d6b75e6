"""AdaLoRA: LoRA whose rank moves, while it trains, to the layers that need it.

Source: Zhang et al., "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning",
https://arxiv.org/abs/2303.10512. A layer computes W x + B E A x with a diagonal E. Training begins with half as many
ranks again as `rank`; from a tenth of the steps on, the least important of all layers' ranks lose their E, until the
mean is `rank` for the last fifth of the steps.

E goes into A, so that what comes out is a LoRA adapter like any other, for chat and every export.
"""

from __future__ import annotations

from engine.training.activations import Device
from engine.training.methods.base import MethodConfig, TrainingMethod, compute_bytes, lora_weights
from engine.training.model_facts import ModelFacts

FIRST_SHARE = 1.5
"""Ranks at the start for each rank at the end, as in the paper."""


def first_rank(rank: int) -> int:
    """The rank that every layer begins with."""
    return max(rank + 1, round(rank * FIRST_SHARE))


def _trained(config: MethodConfig, facts: ModelFacts) -> float:
    return lora_weights(config, facts) * first_rank(config.rank) / config.rank


def _memory(config: MethodConfig, facts: ModelFacts, device: Device, available: float) -> float:
    """The adapter is in float32 (weights, gradients, masters, two moments), with three statistics of each weight."""
    return facts.weights * compute_bytes(config) + _trained(config, facts) * 8 * 4


def _exports(config: MethodConfig) -> tuple[str, ...]:
    return ("adapter", "merged", "gguf", "ollama", "gguf-adapter")


ADALORA = TrainingMethod(
    name="adalora",
    title="AdaLoRA",
    summary="LoRA whose rank moves to the layers that need it.",
    fields=frozenset({"rank", "alpha", "dropout", "targets"}),
    check=lambda config: None,
    exports=_exports,
    memory=_memory,
    trained=_trained,
    sft_only=True,
)
