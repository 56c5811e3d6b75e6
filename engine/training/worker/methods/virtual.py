"""The methods that train virtual tokens, as PEFT makes them: prompt tuning, P-tuning, prefix tuning and P-tuning v2.
How virtual tokens stand before packed rows is engine.training.worker.virtual_tokens' business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from engine.training.config import TrainConfig
from engine.training.worker import virtual_tokens
from engine.training.worker.methods.base import AdapterMethod

_DEEP_SPREAD = 0.02
"""Standard deviation of the keys and values that P-tuning v2 begins with. PEFT's, 1, drowns the text."""


def _method(peft: Callable[[TrainConfig, Any], Any], *, deep: bool, spread: float | None = None) -> AdapterMethod:
    def finish(model: Any) -> None:
        if spread is not None:
            for parameter in model.prompt_encoder.parameters():
                torch.nn.init.normal_(parameter, std=spread)
        virtual_tokens.attach(model)

    return AdapterMethod(
        peft=peft,
        adapter_dtype=lambda name, dtype: torch.float32,
        finish=finish,
        checkpointing=not deep,  # a checkpointed layer takes no keys and values from outside
    )


def _prompt(config: TrainConfig, model: Any) -> Any:
    from peft import PromptTuningConfig, PromptTuningInit

    return PromptTuningConfig(
        num_virtual_tokens=config.virtual_tokens,
        prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB,
        task_type="CAUSAL_LM",
    )


def _p_tuning(config: TrainConfig, model: Any) -> Any:
    from peft import PromptEncoderConfig

    return PromptEncoderConfig(
        num_virtual_tokens=config.virtual_tokens,
        encoder_hidden_size=int(model.config.get_text_config().hidden_size),
        task_type="CAUSAL_LM",
    )


def _deep(config: TrainConfig, model: Any, *, network: bool) -> Any:
    from peft import PrefixTuningConfig

    text = model.config.get_text_config()
    return PrefixTuningConfig(
        num_virtual_tokens=config.virtual_tokens,
        prefix_projection=network,
        encoder_hidden_size=int(text.hidden_size),
        task_type="CAUSAL_LM",
    )


PROMPT = _method(_prompt, deep=False)
P_TUNING = _method(_p_tuning, deep=False)
PREFIX = _method(lambda config, model: _deep(config, model, network=True), deep=True)
P_TUNING_V2 = _method(lambda config, model: _deep(config, model, network=False), deep=True, spread=_DEEP_SPREAD)
