"""Objectives: what a run trains towards. To add one, write its file and add it to OBJECTIVES;
the worker needs its trainer, registered there under the same name."""

from __future__ import annotations

from engine.training.objectives.base import Objective
from engine.training.objectives.sft import SFT

__all__ = ["OBJECTIVES", "Objective"]

OBJECTIVES: dict[str, Objective] = {objective.name: objective for objective in (SFT,)}
"""Every objective by name, in the order in which they are offered."""
