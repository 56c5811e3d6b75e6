"""Objectives: what a run trains towards. To add one, write its file and add it to OBJECTIVES;
the worker needs its trainer, registered there under the same name."""

from __future__ import annotations

from engine.training.objectives.base import Objective
from engine.training.objectives.dpo import DPO
from engine.training.objectives.grpo import GRPO
from engine.training.objectives.kto import KTO
from engine.training.objectives.reward import REWARD
from engine.training.objectives.rloo import RLOO
from engine.training.objectives.sft import SFT

__all__ = ["OBJECTIVES", "Objective", "why_unused"]

OBJECTIVES: dict[str, Objective] = {objective.name: objective for objective in (SFT, DPO, KTO, REWARD, GRPO, RLOO)}
"""Every objective by name, in the order in which they are offered."""


def why_unused(objective: str, field: str) -> str | None:
    """Why an objective does not use a field of the configuration, in a sentence or ""; None when it does."""
    found = OBJECTIVES[objective]
    if field in found.unused:
        return found.unused[field]
    claimed = any(field in other.fields for other in OBJECTIVES.values())
    return "" if claimed and field not in found.fields else None
