"""Full: every module of the base is saved whole, in PEFT's terms; see engine.training.methods.full."""

from __future__ import annotations

from typing import Any

from engine.models.adapter_kinds import NO_TARGETS
from engine.training.config import TrainConfig
from engine.training.worker.methods.base import AdapterMethod


def _full_config(config: TrainConfig, model: Any) -> Any:
    """A LoraConfig without any low-rank factor, whose `modules_to_save` are all modules that own a weight.

    An output matrix that is the embedding's table stays that (`ensure_weight_tying`): it is trained once.
    """
    from peft import LoraConfig

    owners = {name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))}
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = head is not None and head.weight is embedding.weight
    if tied:
        owners -= {name for name, module in model.named_modules() if module is head}
    return LoraConfig(
        target_modules=NO_TARGETS,
        modules_to_save=sorted({name.rpartition(".")[2] for name in owners}),
        ensure_weight_tying=tied,
        task_type="CAUSAL_LM",
    )


FULL = AdapterMethod(peft=_full_config)
