"""LoRA: small trainable matrices beside the frozen weights of the linear layers, in 16 or 32 bits.

Sources:
- LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685. A layer
  computes W x + (alpha / rank) · B A x; only A and B are trained.
- rsLoRA (the field `rslora`): Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
  https://arxiv.org/abs/2312.03732. The factor is alpha / √rank, so that a high rank learns as fast as a low one.
- DoRA (the field `dora`): Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation",
  https://arxiv.org/abs/2402.09353. Magnitude and direction of each weight column are trained apart.
"""

from __future__ import annotations

from engine.training.activations import Device
from engine.training.methods.base import MethodConfig, TrainingMethod, adapter_bytes, compute_bytes
from engine.training.model_facts import ModelFacts

ADAPTER_FIELDS = frozenset({"rank", "alpha", "dropout", "targets", "rslora", "dora"})
"""The TrainConfig fields of every LoRA-like adapter."""


def check(config: MethodConfig) -> None:
    """Every combination of valid values can be trained."""


def exports(config: MethodConfig) -> tuple[str, ...]:
    """llama.cpp's adapter format has no place for DoRA's magnitudes: such an adapter is merged into its base."""
    return ("adapter", "merged", "gguf", "ollama") + (() if config.dora else ("gguf-adapter",))


def _memory(config: MethodConfig, facts: ModelFacts, device: Device, available: float) -> float:
    return facts.weights * compute_bytes(config) + adapter_bytes(config, facts)


LORA = TrainingMethod(
    name="lora",
    title="LoRA, 16 bit",
    summary="Trains small matrices beside the frozen weights of the base model.",
    fields=ADAPTER_FIELDS,
    check=check,
    exports=exports,
    memory=_memory,
    variants={"dora": {"dora": True}},
)
