"""What a method has to provide in the training process: how its base is loaded and what is put on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from engine.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class AdapterMethod:
    """One way to adapt a model's weights.

    `peft` builds PEFT's configuration of the adapter. `quantisation` gives transformers' configuration for loading the
    base in a compute dtype, None for plain weights. `prepare` gets the loaded base, the compute dtype and the device,
    and returns a sentence for the run's log, or "". `adapter_dtype` is the dtype of one trainable weight, by its name
    and the compute dtype.
    """

    peft: Callable[[TrainConfig], Any]
    quantisation: Callable[[torch.dtype], Any]
    prepare: Callable[[Any, torch.dtype, str], str]
    adapter_dtype: Callable[[str, torch.dtype], torch.dtype]
