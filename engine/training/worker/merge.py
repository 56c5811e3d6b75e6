"""Merges an adapter into its base with PEFT: for adapters that are more than B @ A (DoRA, saved modules), which the
export's own merge cannot express. Writes weights and config; the caller adds the tokenizer."""

from __future__ import annotations

from pathlib import Path

from engine.core import child
from engine.training.worker import error_messages


def main(base: Path, adapter: Path, out: Path) -> int:
    """`engine.training.worker merge`: the merged model as safetensors in the folder `out`, in the base's own type.

    Prints one JSON error line and returns 1 when PEFT cannot do it.
    """
    return child.report_errors(lambda: _merge(base, adapter, out), error_messages.sentence)


def _merge(base: Path, adapter: Path, out: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoConfig

    from engine.training.worker import loading

    loading.quiet()
    own = AutoConfig.from_pretrained(base).dtype or torch.float32
    model = loading.load_whole(base, dtype=torch.float32)  # rounded once, at the end
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.to(own).save_pretrained(out, safe_serialization=True, max_shard_size="1000GB")
