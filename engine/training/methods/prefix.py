"""Prefix tuning: keys and values of virtual tokens in every layer, written by an MLP that is trained with them.

Source: Li and Liang, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", https://arxiv.org/abs/2101.00190.
The MLP is for training alone: the adapter holds what it writes.
"""

from __future__ import annotations

from engine.training.methods.virtual import virtual_method

PREFIX = virtual_method(
    name="prefix",
    title="Prefix tuning",
    summary="Keys and values of virtual tokens in every layer, written by a network that is trained with them.",
    rate=2.0,
    trained=lambda config, facts: config.virtual_tokens * facts.hidden + (2 * facts.layers + 1) * facts.hidden**2,
)
