"""What one forward and backward pass holds in memory: the estimate counts with it, and the worker decides by it.
Only numbers; no torch."""

from __future__ import annotations

from typing import Literal

Device = Literal["cpu", "cuda"]

PACK_TOKENS: dict[Device, int] = {"cpu": 1024, "cuda": 4096}
"""Tokens that rows are packed up to. On the CPU a usual step is one pass then, an eighth faster than two; from there on
matrix products gain nothing more."""

_BYTES_PER_VALUE = 60  # of one token and layer, times the hidden size, in 16 bits: measured with LoRA on all layers


def activation_bytes(layers: int, hidden: int, width: int) -> float:
    """Bytes of activations for one token of a pass, in a dtype of `width` bytes."""
    return layers * hidden * _BYTES_PER_VALUE * width / 2
