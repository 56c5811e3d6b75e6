"""What the methods of engine.training.methods do to a model. To add one, write its file and add it to ADAPTERS."""

from __future__ import annotations

from engine.training.worker.methods.adalora import ADALORA
from engine.training.worker.methods.base import AdapterMethod
from engine.training.worker.methods.full import FULL
from engine.training.worker.methods.lora import LORA
from engine.training.worker.methods.qlora import QLORA
from engine.training.worker.methods.virtual import P_TUNING, P_TUNING_V2, PREFIX, PROMPT

__all__ = ["ADAPTERS", "AdapterMethod"]

ADAPTERS: dict[str, AdapterMethod] = {
    "lora": LORA,
    "qlora": QLORA,
    "adalora": ADALORA,
    "full": FULL,
    "prefix": PREFIX,
    "p-tuning": P_TUNING,
    "p-tuning-v2": P_TUNING_V2,
    "prompt": PROMPT,
}
"""By the names of engine.training.methods.METHODS."""
