"""Fields of a Hugging Face configuration that a GGUF header holds and transformers' GGUF reader drops: rope scaling,
the size of a head, Gemma's attention scale. The inverse of `engine.gguf.hyperparameters`; reads headers only."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.gguf.header import Header
from engine.gguf.hyperparameters import llama3_factors
from store.errors import Unsupported

_GEMMA_27B = {("gemma2", 46): 144, ("gemma3", 62): 168}
"""query_pre_attn_scalar of the two models whose attention scale is not the size of a head (as llama.cpp knows them)."""
_USUAL_CONTEXTS = [1 << n for n in range(5, 21)]
_BOUNDS = ((1.0, 4.0),)
_CLOSE = 1e-4


def corrections(header: Header) -> dict[str, Any]:
    """Configuration fields to set on what transformers makes of the file.

    Raises Unsupported for a rope scaling that cannot be expressed: the model would be trained with wrong positions.
    """
    fields: dict[str, Any] = {}
    head = header.own("attention.key_length")
    if isinstance(head, int) and header.architecture != "phi3":
        fields["head_dim"] = head
    if header.architecture in ("gemma2", "gemma3") and isinstance(head, int):
        layers = header.own("block_count")
        fields["query_pre_attn_scalar"] = _GEMMA_27B.get((header.architecture, layers), head)
    rope = rope_parameters(header)
    if rope:
        fields["rope_parameters"] = rope
    return fields


def rope_parameters(header: Header) -> dict[str, Any] | None:
    """The rope scaling of the file as transformers writes it, None when there is none."""
    theta = float(header.own("rope.freq_base", 10000.0))
    factors = header.floats("rope_freqs.weight")
    if factors is not None:
        return {"rope_type": "llama3", "rope_theta": theta} | _llama3(factors, theta, header)
    long, short = header.floats("rope_factors_long.weight"), header.floats("rope_factors_short.weight")
    if long is not None and short is not None:
        original = header.own("rope.scaling.original_context_length")
        return {
            "rope_type": "longrope",
            "rope_theta": theta,
            "long_factor": long,
            "short_factor": short,
            "original_max_position_embeddings": original,
        }
    kind = header.own("rope.scaling.type")
    if kind in (None, "none", ""):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "rope_theta": theta, "factor": float(header.own("rope.scaling.factor", 1.0))}
    if kind == "yarn":
        found = {
            "rope_type": "yarn",
            "rope_theta": theta,
            "factor": float(header.own("rope.scaling.factor", 1.0)),
            "original_max_position_embeddings": header.own("rope.scaling.original_context_length"),
        }
        for ours, key in (
            ("attention_factor", "yarn_attn_factor"),
            ("beta_fast", "yarn_beta_fast"),
            ("beta_slow", "yarn_beta_slow"),
        ):
            value = header.own(f"rope.scaling.{key}")
            if value is not None:
                found[ours] = float(value)
        return found
    raise Unsupported(
        f"The rope scaling {kind!r} of this GGUF file is not supported for training.",
        where=header.path.name,
        todo="Chatting with it works; to tune it, use the model's Hugging Face folder (safetensors) instead.",
    )


def _llama3(factors: list[float], theta: float, header: Header) -> dict[str, Any]:
    """The parameters from which `factors` were computed: GGUF keeps only the result. The largest is the factor; the
    original context is searched among powers of two, the bounds are the ones that all published models have."""
    dimensions = 2 * len(factors)
    largest = max(factors)
    for low, high in _BOUNDS:
        for original in _USUAL_CONTEXTS:
            for factor in dict.fromkeys((largest, 8.0, 16.0, 32.0, 64.0)):
                found = {
                    "factor": factor,
                    "low_freq_factor": low,
                    "high_freq_factor": high,
                    "original_max_position_embeddings": original,
                }
                if np.allclose(llama3_factors({"rope_theta": theta} | found, dimensions), factors, rtol=_CLOSE):
                    return found
    raise Unsupported(
        "The rope frequencies of this GGUF file are not Llama 3's, and cannot be expressed in a configuration.",
        where=header.path.name,
        todo="Chatting with it works; to tune it, use the model's Hugging Face folder (safetensors) instead.",
    )
