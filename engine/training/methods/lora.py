"""LoRA: small trainable matrices beside the frozen weights of the linear layers, in 16 or 32 bits.

Sources:
- LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685. A layer
  computes W x + (alpha / rank) · B A x; only A and B are trained.
- rsLoRA (the field `rslora`): Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
  https://arxiv.org/abs/2312.03732. The factor is alpha / √rank, so that a high rank learns as fast as a low one.
- LoRA+ (the field `lora_plus`): Hayou et al., "LoRA+: Efficient Low Rank Adaptation of Large Models",
  https://arxiv.org/abs/2402.12354. B learns at a multiple of A's rate.
- DoRA (the field `dora`): Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation",
  https://arxiv.org/abs/2402.09353. Magnitude and direction of each weight column are trained apart.
"""

from __future__ import annotations

from engine.training.activations import Device
from engine.training.methods.base import MethodConfig, TrainingMethod, adapter_bytes, compute_bytes
from engine.training.model_facts import ModelFacts
from store.errors import BadInput

ADAPTER_FIELDS = frozenset(
    {"rank", "alpha", "dropout", "targets", "rslora", "dora", "modules_to_save", "lora_plus", "lora_init"}
)
"""The TrainConfig fields of every LoRA adapter."""


def check(config: MethodConfig) -> None:
    """BadInput for an orthogonal start of an odd rank, which it would have to halve."""
    if config.lora_init == "orthogonal" and config.rank % 2:
        raise BadInput(
            f"The rank is {config.rank}; an orthogonal start needs an even one.", where="rank", todo="Raise it by one."
        )


def exports(config: MethodConfig) -> tuple[str, ...]:
    """llama.cpp's adapter format has no place for DoRA's magnitudes and whole modules: those are merged."""
    plain = not config.dora and not config.modules_to_save
    return ("adapter", "merged", "gguf", "ollama") + (("gguf-adapter",) if plain else ())


def limits(config: MethodConfig) -> tuple[str, ...]:
    """What an adapter with more than low-rank factors cannot do."""
    if not config.modules_to_save:
        return ()
    return (
        "An adapter with whole modules is no GGUF adapter: Compare answers through transformers, and exports are merged"
        " models.",
    )


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
    limits=limits,
    variants={"dora": {"dora": True}},
)
