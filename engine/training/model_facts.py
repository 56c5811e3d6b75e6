"""The size and shape of a base model, read from its folder before anything is loaded.
Reads config.json or a GGUF file's header only; no weights, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.core.files import read_json
from engine.models import gguf_source


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Size of a base model: all weights, those in linear layers (without embeddings and head), and its shape.

    `own_blocks` names the types of the quantised GGUF file that it came from, "" for other models: every method trains
    such a model on those blocks, dequantised to 16 bits.
    """

    weights: int
    linear_weights: int
    layers: int
    hidden: int
    vocabulary: int
    own_blocks: str = ""


def gguf_facts(path: Path) -> ModelFacts:
    """The same from the header of a GGUF file that is not prepared yet. BadInput when it cannot be read."""
    found = gguf_source.sizes(path)
    return ModelFacts(found.weights, found.linear, found.layers, found.hidden, found.vocabulary, found.own_blocks)


def model_facts(folder: Path) -> ModelFacts:
    """Read the facts from a Hugging Face folder's config.json. BadInput when it cannot be read."""
    config = read_json(folder / "config.json", todo="Name a Hugging Face model folder.")
    text = config.get("text_config") or config
    layers, hidden = int(text.get("num_hidden_layers") or 1), int(text.get("hidden_size") or 1)
    vocabulary = int(text.get("vocab_size") or 0)
    heads = int(text.get("num_attention_heads") or 1)
    width = int(text.get("head_dim") or hidden // heads)
    keys = int(text.get("num_key_value_heads") or heads)
    inner = int(text.get("intermediate_size") or 4 * hidden)
    linear = layers * (2 * hidden * heads * width + 2 * hidden * keys * width + 3 * hidden * inner)
    embeddings = hidden * vocabulary * (1 if config.get("tie_word_embeddings", text.get("tie_word_embeddings")) else 2)
    own_blocks = gguf_source.own_blocks(folder)
    return ModelFacts(linear + embeddings, linear, layers, hidden, vocabulary, own_blocks)
