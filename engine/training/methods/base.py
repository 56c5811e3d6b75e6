"""What a training method is: how a model's weights are adapted.
Light: the PEFT configuration of a method is built in the worker, by a function registered there under the same name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.training.activations import Device
from engine.training.model_facts import ModelFacts


class MethodConfig(Protocol):
    """What methods read of a TrainConfig.

    They cannot import TrainConfig itself: it checks its `method` against their registry. A method that reads a
    further field adds a line here.
    """

    @property
    def dtype(self) -> str: ...
    @property
    def rank(self) -> int: ...
    @property
    def dora(self) -> bool: ...
    @property
    def modules_to_save(self) -> tuple[str, ...] | None: ...
    @property
    def lora_init(self) -> str: ...
    @property
    def virtual_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class TrainingMethod:
    """One way to adapt a model's weights.

    `fields` are the TrainConfig fields that only some methods use and this one does: the others are not offered
    for it. `variants` are further names by which the command line offers it, each with the fields that it sets.
    `check` raises BadInput for a combination of values that the method cannot train. `exports` are the names of the
    export targets that an adapter of this configuration can be written to. `memory` is the bytes that weights, adapter,
    gradients and optimizer state take, without activations, on a device with so many bytes of memory. `trained` is the
    number of weights that it trains on a model. `limits` are sentences on what a run of this configuration cannot do
    afterwards, which are said before it starts. `rate` is what a recipe's learning rate, which is made for LoRA, is
    multiplied by. An `sft_only` method knows no other objective, and does not continue earlier adapters.
    """

    name: str
    title: str
    summary: str
    fields: frozenset[str]
    check: Callable[[MethodConfig], None]
    exports: Callable[[MethodConfig], tuple[str, ...]]
    memory: Callable[[MethodConfig, ModelFacts, Device, float], float]
    trained: Callable[[MethodConfig, ModelFacts], float] = lambda config, facts: lora_weights(config, facts)
    limits: Callable[[MethodConfig], tuple[str, ...]] = lambda config: ()
    rate: float = 1.0
    sft_only: bool = False
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def compute_bytes(config: MethodConfig) -> int:
    """Bytes of one number in the dtype that is computed in; `auto` counts as 16 bits."""
    return 4 if config.dtype == "fp32" else 2


def lora_weights(config: MethodConfig, facts: ModelFacts) -> float:
    """Weights of a LoRA adapter on all linear layers.

    A layer of n inputs and m outputs has rank · (n + m) adapter weights. The count takes all layers as square ones of
    the mean size, seven to a block (q, k, v, o, gate, up, down): rank · 2 · √(weights of a layer), summed.
    """
    return config.rank * 2 * math.sqrt(facts.linear_weights * facts.layers * 7)


def adapter_bytes(config: MethodConfig, facts: ModelFacts) -> float:
    """Bytes of a LoRA adapter with its gradients, float32 masters and AdamW's two moments."""
    return trained_bytes(config, lora_weights(config, facts))


def trained_bytes(config: MethodConfig, weights: float) -> float:
    """Bytes of so many trained weights, their gradients, float32 masters and AdamW's two moments."""
    return weights * (compute_bytes(config) * 2 + 12)
