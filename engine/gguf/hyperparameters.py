"""The metadata that llama.cpp needs of each architecture, from a Hugging Face config to GGUF keys, and the tensors
made of it.
Nothing here reads weights or vocabularies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gguf
import numpy as np

from engine.gguf.architectures import ARCHITECTURES
from store.errors import Unsupported

Config = Mapping[str, Any]

# What a published config.json may leave to its class: only the keys that are written below. A test holds them
# against the classes.
_GEMMA = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "sliding_window": 4096,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma2": {
        **_GEMMA,
        "max_position_embeddings": 8192,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
    "gemma3_text": {**_GEMMA, "max_position_embeddings": 131072, "vocab_size": 262208},
    "phi3": {"max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
    "mistral": {"num_key_value_heads": 8, "rms_norm_eps": 1e-6},
}


def text_config(config: Config) -> dict[str, Any]:
    """The language model's part of a config.json, with the defaults of its class. Unsupported for what GGUF export
    cannot take."""
    inner = config.get("text_config") or {}
    merged = {**DEFAULTS.get(inner.get("model_type") or config.get("model_type", ""), {}), **config, **inner}
    for key, what in (
        ("quantization_config", "a quantised checkpoint"),
        ("num_local_experts", "a mixture of experts"),
        ("num_experts", "a mixture of experts"),
    ):
        if merged.get(key):
            raise Unsupported(
                f"The native GGUF export does not take {what}.",
                where=f"config.json: {key}",
                todo="Use --converter official.",
            )
    return merged


def rope_of(c: Config) -> dict[str, Any]:
    """Rope parameters by attention kind: {"full_attention": {...}, "sliding_attention": {...}} or one flat dict,
    whatever the config's age."""
    rope = dict(c.get("rope_parameters") or c.get("rope_scaling") or {})
    if {"full_attention", "sliding_attention"} & set(rope):
        return rope
    for key in ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings"):
        if key not in rope and c.get(key) is not None:
            rope[key] = c[key]
    if "rope_type" not in rope and rope.get("type"):
        rope["rope_type"] = rope["type"]
    if c.get("rope_local_base_freq") is not None:
        rope["sliding_attention"] = {"rope_theta": c["rope_local_base_freq"]}
    return rope


def write_hparams(writer: gguf.GGUFWriter, c: Config) -> None:
    """All keys of the architecture but general.* and tokenizer.*. Unsupported for a rope kind that llama.cpp has no
    name for."""
    _WRITERS.get(ARCHITECTURES[c["architectures"][0]].name, _generic)(writer, c)


def made_tensors(writer: gguf.GGUFWriter, c: Config) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors that exist in GGUF only: Llama 3's rope frequencies, Phi 3's rope factors; float32 vectors of half a
    head."""
    name = ARCHITECTURES[c["architectures"][0]].name
    rope = rope_of(c)
    if name == "phi3" and rope.get("long_factor"):
        original = rope["original_max_position_embeddings"]
        scale = c["max_position_embeddings"] / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)
        yield "rope_factors_long.weight", np.array(rope["long_factor"], dtype=np.float32)
        yield "rope_factors_short.weight", np.array(rope["short_factor"], dtype=np.float32)
    full = rope.get("full_attention", rope)
    if name == "llama" and (full.get("rope_type") or "").lower() == "llama3":
        yield "rope_freqs.weight", llama3_factors(full, _head_dim(c))


def llama3_factors(rope: Config, head_dim: int) -> np.ndarray:
    """What Llama 3.1 divides each rope frequency by, shape (head_dim / 2,): `factor` for long waves, 1 for short
    ones, an interpolation between (https://arxiv.org/abs/2407.21783; transformers' `_compute_llama3_parameters`)."""
    steps = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1.0) / np.float32(rope.get("rope_theta", 10000.0)) ** steps
    factor, low, high = rope.get("factor", 8.0), rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0)
    original = rope.get("original_max_position_embeddings", 8192)

    def scale(frequency: np.float32) -> np.float32:
        wave = np.float32(2 * math.pi) / frequency
        if wave < original / high:
            return np.float32(1.0)
        if wave > original / low:
            return np.float32(factor)
        smooth = (np.float32(original) / wave - np.float32(low)) / np.float32(high - low)
        return np.float32(1) / ((np.float32(1) - smooth) / np.float32(factor) + smooth)

    return np.array([scale(frequency) for frequency in frequencies], dtype=np.float32)


def _head_dim(c: Config) -> int:
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def _sizes(writer: gguf.GGUFWriter, c: Config) -> None:
    writer.add_block_count(c["num_hidden_layers"])
    if c.get("max_position_embeddings") is not None:
        writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c.get("num_key_value_heads") or c["num_attention_heads"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])


def _rope(writer: gguf.GGUFWriter, c: Config) -> None:
    rope = rope_of(c)
    full = rope.get("full_attention", rope)
    kind, factor = full.get("rope_type"), full.get("factor")
    if kind == "linear" and factor is not None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(factor)
    elif kind == "yarn" and factor is not None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(factor)
        writer.add_rope_scaling_orig_ctx_len(full["original_max_position_embeddings"])
        for key, add in (
            ("extrapolation_factor", writer.add_rope_scaling_yarn_ext_factor),
            ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
            ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
            ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
        ):
            if full.get(key) is not None:
                add(full[key])
    elif kind not in (None, "default", "llama3"):
        raise Unsupported(
            f"The rope kind {kind} has no GGUF form here.", where="config.json", todo="Use --converter official."
        )
    if full.get("rope_theta") is not None:
        writer.add_rope_freq_base(full["rope_theta"])
    if (local := rope.get("sliding_attention", {}).get("rope_theta")) is not None:
        writer.add_rope_freq_base_swa(local)


def _key_length(writer: gguf.GGUFWriter, c: Config) -> None:
    if c.get("head_dim") is not None:
        writer.add_key_length(c["head_dim"])
        writer.add_value_length(c["head_dim"])


def _generic(writer: gguf.GGUFWriter, c: Config) -> None:
    _sizes(writer, c)
    _rope(writer, c)
    _key_length(writer, c)


def _llama(writer: gguf.GGUFWriter, c: Config) -> None:
    _generic(writer, c)
    writer.add_vocab_size(c["vocab_size"])
    writer.add_rope_dimension_count(_head_dim(c))


def _gemma2(writer: gguf.GGUFWriter, c: Config) -> None:
    _sizes(writer, c)
    _key_length(writer, c)
    writer.add_attn_logit_softcapping(c["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(c["final_logit_softcapping"])
    writer.add_sliding_window(c["sliding_window"])


def _gemma3(writer: gguf.GGUFWriter, c: Config) -> None:
    if c.get("attn_logit_softcapping") is not None:
        raise Unsupported(
            "Gemma 3 with attention softcapping has no GGUF form.", where="config.json: attn_logit_softcapping"
        )
    _sizes(writer, c)
    _rope(writer, c)
    _key_length(writer, c)
    rope = rope_of(c)
    if rope.get("full_attention", rope).get("rope_theta") is None:
        writer.add_rope_freq_base(1e6)
    if c.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(c["final_logit_softcapping"])
    if c.get("sliding_window_pattern") != 1:
        writer.add_sliding_window(c["sliding_window"])


def _phi3(writer: gguf.GGUFWriter, c: Config) -> None:
    rope = rope_of(c)
    _sizes(writer, c)
    writer.add_rope_scaling_orig_ctx_len(
        rope.get("original_max_position_embeddings", c["original_max_position_embeddings"])
    )
    writer.add_rope_dimension_count(
        int(rope.get("partial_rotary_factor", 1.0) * c["hidden_size"]) // c["num_attention_heads"]
    )
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))
    writer.add_sliding_window(c.get("sliding_window") or 0)


_WRITERS: dict[str, Callable[[gguf.GGUFWriter, Config], None]] = {
    "llama": _llama, "gemma2": _gemma2, "gemma3": _gemma3, "phi3": _phi3,
}  # fmt: skip
