"""What the methods of engine.training.methods do to a model. To add one, write its file and add it to ADAPTERS."""

from __future__ import annotations

from engine.training.worker.methods.base import AdapterMethod
from engine.training.worker.methods.lora import LORA
from engine.training.worker.methods.qlora import QLORA

__all__ = ["ADAPTERS", "AdapterMethod"]

ADAPTERS: dict[str, AdapterMethod] = {"lora": LORA, "qlora": QLORA}
"""By the names of engine.training.methods.METHODS."""
