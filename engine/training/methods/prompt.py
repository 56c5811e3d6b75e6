"""Prompt tuning: the embeddings of some virtual tokens before every conversation are trained.

Source: Lester et al., "The Power of Scale for Parameter-Efficient Prompt Tuning", https://arxiv.org/abs/2104.08691,
whose main result is that it needs large models: on a small one it learns little.
"""

from __future__ import annotations

from engine.training.methods.virtual import virtual_method

PROMPT = virtual_method(
    name="prompt",
    title="Prompt tuning",
    summary="Trains the embeddings of virtual tokens before every conversation: fewest weights, for large models.",
    rate=20.0,
    trained=lambda config, facts: config.virtual_tokens * facts.hidden,
)
