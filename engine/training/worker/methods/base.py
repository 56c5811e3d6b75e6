"""What a method has to provide in the training process: how its base is loaded and what is put on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerCallback

from engine.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class AdapterMethod:
    """One way to adapt a model's weights.

    `peft` builds PEFT's configuration of the adapter for a base model. `quantisation` gives transformers' configuration
    for loading the base in a compute dtype, None for plain weights. `prepare` gets the loaded base, the compute dtype
    and the device, and returns a sentence for the run's log, or "". `adapter_dtype` is the dtype of one trainable
    weight, by its name and the compute dtype. `finish` gets the adapted model. `callbacks` are what the method does
    between the steps of a run of so many, with any trainer. `checkpointing` says whether activations may be computed
    twice to save memory.
    """

    peft: Callable[[TrainConfig, Any], Any]
    quantisation: Callable[[torch.dtype], Any] = lambda dtype: None
    prepare: Callable[[Any, torch.dtype, str], str] = lambda model, dtype, device: ""
    adapter_dtype: Callable[[str, torch.dtype], torch.dtype] = lambda name, dtype: dtype
    finish: Callable[[Any], None] = lambda model: None
    callbacks: Callable[[Any, int], Sequence[TrainerCallback]] = lambda model, total: ()
    checkpointing: bool = True
