"""What a model of this machine is called in what leaves it: no path, no local name."""

from __future__ import annotations

from pathlib import PurePath

from engine.models import default_model
from engine.models.refs import is_hub_name

EMBEDDED_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What the default model is called on the Hugging Face hub."""


def public_base(base: str) -> str:
    """A base's name for others: the hub's for the default model, the last part of a path."""
    if base == default_model.NAME:
        return EMBEDDED_ON_HUB
    return base if is_hub_name(base) else PurePath(base.rstrip("/")).name or base
