"""Training methods: how weights are adapted. To add one, write its file and add it to METHODS;
the worker needs a function that builds its PEFT configuration, registered there under the same name."""

from __future__ import annotations

from engine.training.methods.adalora import ADALORA
from engine.training.methods.base import MethodConfig, TrainingMethod
from engine.training.methods.full import FULL
from engine.training.methods.lora import LORA
from engine.training.methods.p_tuning import P_TUNING
from engine.training.methods.p_tuning_v2 import P_TUNING_V2
from engine.training.methods.prefix import PREFIX
from engine.training.methods.prompt import PROMPT
from engine.training.methods.qlora import QLORA

__all__ = ["AUTO", "METHODS", "MethodConfig", "TrainingMethod", "meant_by"]

AUTO = "auto"
"""What a configuration calls "the method that fits": engine.training.estimate chooses it when a run is submitted."""
_FITTING = ("lora", "qlora")

METHODS: dict[str, TrainingMethod] = {
    method.name: method for method in (LORA, QLORA, ADALORA, FULL, PREFIX, P_TUNING, P_TUNING_V2, PROMPT)
}
"""Every method by name, in the order in which they are offered."""


def meant_by(name: str) -> tuple[TrainingMethod, ...]:
    """The method of that name, or those that AUTO chooses from."""
    return tuple(METHODS[each] for each in (_FITTING if name == AUTO else (name,)))
