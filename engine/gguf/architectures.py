"""What each Hugging Face architecture is called in GGUF, and how its tensors must be rearranged on the way.
Shared by the adapter and the whole-model export; no file is read or written here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from store.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Arch:
    """`name` is the GGUF architecture; `permutes_qk`: rows of q, k go from half-split to interleaved rotary order."""

    name: str
    permutes_qk: bool = False


ARCHITECTURES: dict[str, Arch] = {
    "LlamaForCausalLM": Arch("llama", permutes_qk=True),
    "MistralForCausalLM": Arch("llama", permutes_qk=True),
    "Qwen2ForCausalLM": Arch("qwen2"),
    "Qwen3ForCausalLM": Arch("qwen3"),
    "Gemma2ForCausalLM": Arch("gemma2"),
    "Gemma3ForCausalLM": Arch("gemma3"),
    "Phi3ForCausalLM": Arch("phi3"),
}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model that tensor names and permutations depend on."""

    arch: Arch
    layers: int
    heads: int
    kv_heads: int
    tied: bool


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """Read a Hugging Face `config.json`, or a multimodal one's text part. Unsupported for an unknown architecture."""
    name = (config.get("architectures") or ["none"])[0]
    if name not in ARCHITECTURES:
        raise Unsupported(
            f"The architecture {name} cannot be written as GGUF yet.",
            where="config.json",
            todo=f"Known: {', '.join(sorted(ARCHITECTURES))}. Export --to merged, or --to gguf --converter official.",
        )
    text = {**config, **(config.get("text_config") or {})}
    heads = text["num_attention_heads"]
    return ModelShape(
        arch=ARCHITECTURES[name],
        layers=text["num_hidden_layers"],
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        tied=bool(text.get("tie_word_embeddings", False)),
    )


def permute(rows: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of a q or k matrix, shape (heads * head_dim, n), from half-split to interleaved rotary order."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def permute_for(module: str, rows: np.ndarray, shape: ModelShape) -> np.ndarray:
    """`rows` in the order that GGUF wants for this module, for example `model.layers.0.self_attn.q_proj`."""
    if shape.arch.permutes_qk and module.endswith(".q_proj"):
        return permute(rows, shape.heads)
    if shape.arch.permutes_qk and module.endswith(".k_proj"):
        return permute(rows, shape.kv_heads)
    return rows
