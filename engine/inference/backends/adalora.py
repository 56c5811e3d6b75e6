"""An AdaLoRA adapter as an ordinary LoRA folder, which PEFT can mix with others in a batch. Exact: its diagonal goes
into A, its scale into B, and ranks that training took away are left out. numpy only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from engine.core.files import read_json
from engine.gguf.tensors import read_adapter


def write_lora(adapter: Path, out: Path) -> Path:
    """Write the adapter of the folder `adapter` as LoRA into the folder `out`; returns `out`. Raises what
    `read_adapter` raises."""
    tensors, ranks = {}, {}
    for module, delta in read_adapter(adapter).items():
        a, b = delta.factors()
        ranks[module] = len(a)
        tensors[f"base_model.model.{module}.lora_A.weight"] = np.ascontiguousarray(a)
        tensors[f"base_model.model.{module}.lora_B.weight"] = np.ascontiguousarray(b)
    names = {module.replace(".", r"\."): rank for module, rank in ranks.items()}
    options = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": read_json(adapter / "adapter_config.json").get("base_model_name_or_path"),
        "target_modules": sorted(ranks),
        "r": 1,
        "lora_alpha": 1,
        "rank_pattern": names,
        "alpha_pattern": names,
        "inference_mode": True,
    }
    save_file(tensors, out / "adapter_model.safetensors")
    (out / "adapter_config.json").write_text(json.dumps(options), "utf-8")
    return out
