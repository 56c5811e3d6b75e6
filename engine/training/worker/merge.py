"""Merges an adapter into its base with PEFT: for adapters that are more than B @ A (DoRA, saved modules), which the
export's own merge cannot express. Writes weights and config; the caller adds the tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.core import child
from engine.gguf.tensors import EMBEDDINGS
from engine.training.worker import error_messages


def main(base: Path, adapter: Path, out: Path) -> int:
    """`engine.training.worker merge`: the merged model as safetensors in the folder `out`, in the base's own type.

    Prints one JSON error line and returns 1 when PEFT cannot do it.
    """
    return child.report_errors(lambda: _merge(base, adapter, out), error_messages.sentence)


def _merge(base: Path, adapter: Path, out: Path) -> None:
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import AutoConfig

    from engine.training.worker import loading

    loading.quiet()
    own = AutoConfig.from_pretrained(base).dtype or torch.float32
    model = loading.load_whole(base, dtype=torch.float32)  # rounded once, at the end
    options = PeftConfig.from_pretrained(adapter)
    if not getattr(options, "ensure_weight_tying", False) and _touches_tables(options):
        _untie(model)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.to(own).save_pretrained(out, safe_serialization=True, max_shard_size="1000GB")


def _touches_tables(options: Any) -> bool:
    """Whether an adapter changes the embedding or the output."""
    named = {*_names(options.target_modules), *_names(options.modules_to_save)}
    return any(name.rpartition(".")[2] in (*EMBEDDINGS, "lm_head") for name in named)


def _names(found: Any) -> list[str]:
    return [found] if isinstance(found, str) else list(found or ())


def _untie(model: Any) -> None:
    """Give the output a copy of the embedding's table: merging into a shared one would change both, where the adapter
    changes one."""
    import torch

    embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    if output is None or output.weight is not embedding.weight:
        return
    output.weight = torch.nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
