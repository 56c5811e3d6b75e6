"""Cross-entropy in chunks of tokens: the logits of a few tokens exist at a time, and none are kept for the gradient.
Takes hidden states and a frozen head; which positions are trained, packing.py knows.

The gradient of a chunk is made while its logits are there, as in Hsu et al., "Liger Kernel",
https://arxiv.org/abs/2410.10989; no small gradient is dropped.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 128
"""Tokens whose logits exist at once."""


class ChunkedLoss(torch.autograd.Function):
    """The sum of the cross-entropies of hidden states [tokens, width] times a frozen head [vocabulary, width] against
    targets [tokens], in float32. The gradient is made in the forward pass, so that no chunk's logits stay."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        wanted = ctx.needs_input_grad[0]
        grad = torch.empty_like(hidden) if wanted else hidden
        for at in range(0, len(hidden), CHUNK):
            logits, target = hidden[at : at + CHUNK] @ head.t(), targets[at : at + CHUNK, None]
            found = logits.float().log_softmax(-1).gather(1, target)
            total -= found.sum()
            if wanted:
                share = logits.softmax(-1)
                share.scatter_(1, target, found.expm1().to(share.dtype))  # p - 1, not rounded before the subtraction
                torch.mm(share, head, out=grad[at : at + CHUNK])
        ctx.save_for_backward(grad)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        (dhidden,) = ctx.saved_tensors
        return dhidden * grad.to(dhidden.dtype), None, None
