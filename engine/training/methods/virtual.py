"""What the methods that train virtual tokens have in common: tokens of no text that stand before every conversation.
The base model's weights stay as they are, so there is nothing to merge and nothing that a GGUF file could hold."""

from __future__ import annotations

from collections.abc import Callable

from engine.training.activations import Device
from engine.training.methods.base import MethodConfig, TrainingMethod, compute_bytes, trained_bytes
from engine.training.model_facts import ModelFacts

FIELDS = frozenset({"virtual_tokens"})


def virtual_method(
    name: str, title: str, summary: str, rate: float, trained: Callable[[MethodConfig, ModelFacts], float]
) -> TrainingMethod:
    """A method that trains virtual tokens, `trained` weights in all, kept in float32."""

    def memory(config: MethodConfig, facts: ModelFacts, device: Device, available: float) -> float:
        return facts.weights * compute_bytes(config) + trained_bytes(config, trained(config, facts))

    return TrainingMethod(
        name=name,
        title=title,
        summary=summary,
        fields=FIELDS,
        check=lambda config: None,
        exports=lambda config: ("adapter",),
        memory=memory,
        trained=trained,
        limits=_limits,
        rate=rate,
        sft_only=True,
    )


def _limits(config: MethodConfig) -> tuple[str, ...]:
    return (
        "Virtual tokens change no weight of the model, so they cannot be merged or written as GGUF: Compare answers"
        " through transformers, which is slower, and the only export is the PEFT folder.",
    )
