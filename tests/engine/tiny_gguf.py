"""A random Llama of two layers as a GGUF file, and LoRA adapters for it: made in milliseconds with numpy alone.
Byte-level vocabulary, ChatML template; speaks gibberish, which is all that tests of the server need."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

from engine.gguf.architectures import permute

LAYERS, HIDDEN, HEADS, KV_HEADS, INNER, CONTEXT = 2, 64, 4, 2, 128, 512
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "hidden_size": HIDDEN,
    "tie_word_embeddings": False,
}
_KV = HIDDEN // HEADS * KV_HEADS
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (_KV, HIDDEN),
    "self_attn.v_proj": (_KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
_NAMES = dict(zip(SHAPES, ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"), strict=True))


def modules() -> list[str]:
    """Every linear layer by its Hugging Face name."""
    return [f"model.layers.{layer}.{name}" for layer in range(LAYERS) for name in SHAPES]


def vocabulary() -> list[str]:
    """256 byte tokens as GPT-2 spells them, and the control tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled, extra = {b: chr(b) for b in printable}, 0
    for byte in range(256):
        if byte not in spelled:
            spelled[byte] = chr(256 + extra)
            extra += 1
    return [*(spelled[b] for b in range(256)), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@dataclass
class Lora:
    """A LoRA in Hugging Face layout: a random A and B for each module. `scale` is what it multiplies B @ A by."""

    rank: int = 4
    alpha: float = 8.0
    options: dict = field(default_factory=dict)
    seed: int = 1
    std: float = 0.3

    def factors(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        random = np.random.default_rng(self.seed)
        return {
            module: (
                random.standard_normal((self.rank, SHAPES[_kind(module)][1])).astype(np.float32) * self.std,
                random.standard_normal((SHAPES[_kind(module)][0], self.rank)).astype(np.float32) * self.std,
            )
            for module in modules()
        }

    def scale(self, module: str) -> float:
        alpha = next((v for p, v in self.options.get("alpha_pattern", {}).items() if p in module), self.alpha)
        return alpha / (sqrt(self.rank) if self.options.get("use_rslora") else self.rank)


def write_adapter(folder: Path, lora: Lora) -> Path:
    """`lora` as a PEFT folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for module, (a, b) in lora.factors().items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": lora.rank, "lora_alpha": lora.alpha, "bias": "none", **lora.options}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def write_config(folder: Path) -> Path:
    """The base as a Hugging Face folder, as far as converting an adapter needs it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def write_gguf(path: Path, merged: Lora | None = None, *, seed: int = 0, template: str | None = TEMPLATE) -> Path:
    """The tiny model; with `merged`, that LoRA is added into its weights."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    tokens = vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * 3)
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", _random(random, (len(tokens), HIDDEN), 1.0))
    writer.add_tensor("output.weight", _random(random, (len(tokens), HIDDEN), 0.3))
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    deltas = merged.factors() if merged else {}
    for layer in range(LAYERS):
        for name, shape in SHAPES.items():
            module = f"model.layers.{layer}.{name}"
            weight = _random(random, shape, 1 / sqrt(shape[1]))
            if merged:
                a, b = deltas[module]
                weight = weight + np.float32(merged.scale(module)) * (b @ a)
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KV_HEADS}.get(name)
            weight = np.ascontiguousarray(permute(weight, heads) if heads else weight)
            writer.add_tensor(f"blk.{layer}.{_NAMES[name]}.weight", weight)
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(HIDDEN, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _kind(module: str) -> str:
    return ".".join(module.split(".")[-2:])


def _random(random: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    return (random.standard_normal(shape) * std).astype(np.float32)
