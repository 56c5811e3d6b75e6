"""LoRA, with rsLoRA and DoRA as fields: engine.training.methods.lora names the papers."""

from __future__ import annotations

from typing import Any

from engine.training.config import TrainConfig
from engine.training.worker.methods.base import AdapterMethod

_STARTS = {"zero": True, "gaussian": "gaussian", "orthogonal": "orthogonal"}
"""What PEFT calls the starts of engine.training.config's `lora_init`."""


def lora_config(config: TrainConfig, model: Any) -> Any:
    """PEFT's LoraConfig of a run."""
    from peft import LoraConfig

    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets_of(config),
        modules_to_save=list(config.modules_to_save) if config.modules_to_save else None,
        init_lora_weights=_STARTS[config.lora_init],
        use_rslora=config.rslora,
        use_dora=config.dora,
        bias="none",
        task_type="CAUSAL_LM",
    )


def targets_of(config: TrainConfig) -> str | list[str]:
    """The modules to adapt, as PEFT takes them."""
    return config.targets if isinstance(config.targets, str) else list(config.targets)


LORA = AdapterMethod(peft=lora_config)
