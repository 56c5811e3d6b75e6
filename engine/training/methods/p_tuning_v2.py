"""P-tuning v2, also called deep prompts: keys and values of virtual tokens in every layer, trained as they are.

Source: Liu et al., "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across Scales and Tasks",
https://arxiv.org/abs/2110.07602. In PEFT it is prefix tuning without its network, which is what this is; the paper's
classification head and multi-task training are not part of it.
"""

from __future__ import annotations

from engine.training.methods.virtual import virtual_method

P_TUNING_V2 = virtual_method(
    name="p-tuning-v2",
    title="P-tuning v2, deep prompts",
    summary="Keys and values of virtual tokens in every layer, trained as they are: prefix tuning without a network.",
    rate=20.0,
    trained=lambda config, facts: config.virtual_tokens * facts.layers * 2 * facts.hidden,
)
