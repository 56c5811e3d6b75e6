"""Training methods: how weights are adapted. To add one, write its file and add it to METHODS;
the worker needs a function that builds its PEFT configuration, registered there under the same name."""

from __future__ import annotations

from engine.training.methods.base import MethodConfig, TrainingMethod
from engine.training.methods.lora import LORA
from engine.training.methods.qlora import QLORA

__all__ = ["AUTO", "METHODS", "MethodConfig", "TrainingMethod", "meant_by"]

AUTO = "auto"
"""What a configuration calls "the method that fits": engine.training.estimate chooses it when a run is submitted."""
_FITTING = ("lora", "qlora")

METHODS: dict[str, TrainingMethod] = {method.name: method for method in (LORA, QLORA)}
"""Every method by name, in the order in which they are offered."""


def meant_by(name: str) -> tuple[TrainingMethod, ...]:
    """The method of that name, or those that AUTO chooses from."""
    return tuple(METHODS[each] for each in (_FITTING if name == AUTO else (name,)))
