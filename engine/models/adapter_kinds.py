"""What kind of adapter a PEFT folder holds, by its configuration: how it is loaded and what can be made of it follows.
Reads one file; loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from engine.core.files import read_json

Kind = Literal["factors", "adalora", "virtual", "whole"]
"""Factors beside weights (LoRA and its kin, whole modules among them), AdaLoRA's three factors, virtual tokens, or all
weights of a model."""

NO_TARGETS = "dummy-target-modules"
"""What PEFT's LoraConfig takes for "no module": such an adapter has whole modules only."""
_VIRTUAL = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")


def kind_of(folder: Path) -> Kind:
    """The kind of the adapter in `folder`. BadInput when its configuration cannot be read."""
    options = read_json(folder / "adapter_config.json")
    if options.get("peft_type") in _VIRTUAL:
        return "virtual"
    if options.get("target_modules") == NO_TARGETS:
        return "whole"
    return "adalora" if options.get("peft_type") == "ADALORA" else "factors"
