"""QLoRA: a LoRA adapter on a base whose linear layers are stored in 4 bits.

Source: Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", https://arxiv.org/abs/2305.14314: NF4 weights
with double quantisation, dequantised for each product. Frozen weights dequantise to the same numbers every time, so on
the CPU, where memory is ample, the worker keeps the dequantised copy; the adapter learns against the same weights.

A base from a GGUF file that was quantised already is not quantised again: its own blocks are dequantised to 16 bits,
and the method is LoRA on them (engine.models.gguf_source).
"""

from __future__ import annotations

from engine.training.activations import Device
from engine.training.methods.base import MethodConfig, TrainingMethod, adapter_bytes, compute_bytes
from engine.training.methods.lora import ADAPTER_FIELDS, LORA, check, exports, limits
from engine.training.model_facts import ModelFacts
from store.errors import BadInput

RESIDENT_SHARE = 0.25
"""On the CPU, dequantised copies of NF4 weights may take this share of the memory."""
_NF4_BYTES = 0.52
"""Bytes of one NF4 weight: half a byte, and its share of the block scales after double quantisation."""


def _check(config: MethodConfig) -> None:
    """BadInput also for an orthogonal start, which PEFT writes in the type of the base's weights: 4 bits hold none."""
    if config.lora_init == "orthogonal":
        raise BadInput("A base in 4 bits takes no orthogonal start.", where="lora_init", todo="Take the method lora.")
    check(config)


def _memory(config: MethodConfig, facts: ModelFacts, device: Device, available: float) -> float:
    if facts.own_blocks:
        return LORA.memory(config, facts, device, available)
    width = compute_bytes(config)
    copy = facts.linear_weights * width
    resident = copy if device == "cpu" and copy <= available * RESIDENT_SHARE else 0
    base = (facts.weights - facts.linear_weights) * width + facts.linear_weights * _NF4_BYTES + resident
    return base + adapter_bytes(config, facts)


QLORA = TrainingMethod(
    name="qlora",
    title="QLoRA, 4 bit",
    summary="LoRA on a base model stored in 4 bits: less memory on a GPU.",
    fields=ADAPTER_FIELDS,
    check=_check,
    exports=exports,
    memory=_memory,
    limits=limits,
    variants={"qdora": {"dora": True}},
)
