"""P-tuning: virtual tokens before every conversation, written by a small network that is trained with them.

Source: Liu et al., "GPT Understands, Too", https://arxiv.org/abs/2103.10385. Here, as in PEFT, the virtual tokens all
stand at the beginning, and the network is an MLP of three layers, each as wide as the model.
"""

from __future__ import annotations

from engine.training.methods.virtual import virtual_method

P_TUNING = virtual_method(
    name="p-tuning",
    title="P-tuning",
    summary="Virtual tokens before every conversation, written by a small network that is trained with them.",
    rate=2.0,
    trained=lambda config, facts: config.virtual_tokens * facts.hidden + 3 * facts.hidden**2,
)
