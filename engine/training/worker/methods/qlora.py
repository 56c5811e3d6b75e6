"""QLoRA: LoRA on a base in NF4 with double quantisation (Dettmers et al., https://arxiv.org/abs/2305.14314)."""

from __future__ import annotations

from typing import Any

import torch

from engine.training.methods.qlora import RESIDENT_SHARE
from engine.training.worker.methods.base import AdapterMethod
from engine.training.worker.methods.lora import lora_config


def _quantisation(dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=torch.uint8,
    )


def _adapter_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """bf16, as in the paper and in TRL, also where products are computed in fp32.

    DoRA's magnitudes are the exception: their updates are smaller than what bf16 can represent. So are whole modules,
    which stand among plain weights.
    """
    return dtype if "lora_magnitude_vector" in name or "modules_to_save" in name else torch.bfloat16


def _prepare(model: Any, dtype: torch.dtype, device: str) -> str:
    return keep_dequantised(model, dtype) if device == "cpu" else ""


def keep_dequantised(model: Any, dtype: torch.dtype) -> str:
    """Keep a dequantised copy of each NF4 weight when memory is ample; returns what was done, for the log.

    The weights are frozen, so dequantising them twice in every step gives the same numbers each time; on the default
    model on two CPU cores it takes an eighth of a step. Products are bit for bit those of bitsandbytes; the adapter is
    trained against the quantised weights all the same.
    """
    import bitsandbytes as bnb
    import psutil
    from bitsandbytes.functional import dequantize_4bit

    layers = [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]
    if not layers:
        return ""
    for layer in layers:
        # In eval mode bitsandbytes repacks the weights for a kernel without gradients: training on would learn nothing.
        layer.support_avx512bf16_for_cpu = False
    needed = sum(layer.in_features * layer.out_features for layer in layers) * dtype.itemsize
    if needed > psutil.virtual_memory().available * RESIDENT_SHARE:
        return "Memory is short: the NF4 weights are dequantised in every step."
    for layer in layers:
        plain = dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)
        layer.forward = _DequantisedLinear(plain, layer.bias)
    return f"NF4 weights dequantised once for speed ({needed / 1e6:.0f} MB)."


class _DequantisedLinear:
    """A linear layer's product with a weight that stays outside the module's parameters."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        bias = self.bias.to(x.dtype) if self.bias is not None else None
        return torch.nn.functional.linear(x.to(self.weight.dtype), self.weight, bias).to(x.dtype)


QLORA = AdapterMethod(peft=lora_config, quantisation=_quantisation, prepare=_prepare, adapter_dtype=_adapter_dtype)
