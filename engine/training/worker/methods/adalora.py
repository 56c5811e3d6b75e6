"""AdaLoRA through PEFT, with its rank allocation between the steps; engine.training.methods.adalora names the paper.

PEFT moves ranks when it is told to after each step, and knows its regularizer only where it computes the loss itself.
Both happen in a callback here, so that every trainer has them.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from engine.training.config import TrainConfig
from engine.training.methods.adalora import first_rank
from engine.training.worker.methods.base import AdapterMethod
from engine.training.worker.methods.lora import targets_of
from engine.training.worker.optim import MasterAdamW

_UNKNOWN = 1 << 30  # steps: how many a run has is known when its rows are
_BEFORE, _AFTER, _UPDATES = 0.1, 0.2, 50
"""Shares of the steps before ranks move and after they have moved, and how often they move."""
_LEAST = 2
"""Steps that it takes to weigh ranks and to choose; a run of one step keeps all."""


def _config(config: TrainConfig, model: Any) -> Any:
    from peft import AdaLoraConfig

    return AdaLoraConfig(
        init_r=first_rank(config.rank),
        target_r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets_of(config),
        total_step=_UNKNOWN,
        task_type="CAUSAL_LM",
    )


class RankAllocation(TrainerCallback):
    """The regularizer before each optimizer step, the allocation after it.

    The regularizer, the paper's R(P, Q) with the weight of PEFT, pulls A and B towards orthogonal rows and columns, so
    that E measures what a rank does. Its gradient is added after clipping.
    """

    def __init__(self, model: Any, total: int) -> None:
        self._tuner = model.base_model
        self._options = self._tuner.peft_config["default"]
        self._options.total_step = total
        self._options.tinit, self._options.tfinal = int(total * _BEFORE), min(int(total * _AFTER), total - _LEAST)
        self._options.deltaT = max(1, total // _UPDATES)
        named = dict(model.named_parameters())
        self._factors = [(name, p) for name, p in named.items() if ".lora_A." in name or ".lora_B." in name]

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        total = torch.zeros((), device=self._factors[0][1].device)
        for name, factor in self._factors:
            square = factor @ factor.T if ".lora_A." in name else factor.T @ factor
            total = total + torch.linalg.norm(square - torch.eye(len(square), device=square.device))
        (total * (self._options.orth_reg_weight / len(self._factors))).backward()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._tuner.update_and_allocate(state.global_step + 1)
        optimizer = kwargs["optimizer"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # out of accelerate's wrapper
        if isinstance(optimizer, MasterAdamW):
            optimizer.follow()  # a rank that was taken must not come back from its master


ADALORA = AdapterMethod(
    peft=_config,
    adapter_dtype=lambda name, dtype: torch.float32,  # so that masters can follow exactly
    callbacks=lambda model, total: (RankAllocation(model, total),) if total >= _LEAST else (),
)
