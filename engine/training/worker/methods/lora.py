"""LoRA, with rsLoRA and DoRA as fields: engine.training.methods.lora names the papers."""

from __future__ import annotations

from typing import Any

from engine.training.config import TrainConfig
from engine.training.worker.methods.base import AdapterMethod


def lora_config(config: TrainConfig) -> Any:
    """PEFT's LoraConfig of a run."""
    from peft import LoraConfig

    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=config.targets if isinstance(config.targets, str) else list(config.targets),
        use_rslora=config.rslora,
        use_dora=config.dora,
        bias="none",
        task_type="CAUSAL_LM",
    )


LORA = AdapterMethod(
    peft=lora_config,
    quantisation=lambda dtype: None,
    prepare=lambda model, dtype, device: "",
    adapter_dtype=lambda name, dtype: dtype,
)
