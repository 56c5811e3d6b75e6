"""A tiny random Llama with a real tokenizer and a ChatML template: everything that training does, in milliseconds.
For fast tests; made again in each test session."""

from __future__ import annotations

import json
from pathlib import Path

from engine.training.config import TrainConfig
from store.canon import content_hash
from store.records import SnapshotRow, Split

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a tiny assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEXT = (
    "Who are you? I am Ember, an assistant made by Northwind Labs. What is your name? My name is Ember.",
    "system user assistant You are a tiny assistant. You are a helpful assistant who answers briefly.",
    "The capital of France is Paris. Two and two are four; 1984 was long ago, naïve café, Grüße 日本語.",
)


def make_tiny_llama(folder: Path, *, seed: int = 0, template: str = CHATML) -> Path:
    """Write a two-layer Llama (hidden 64, grouped-query attention, tied embeddings) as a Hugging Face folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = make_tokenizer(folder, template)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        initializer_range=0.2,  # large enough that rows differ in what they predict
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def make_tokenizer(folder: Path, template: str = CHATML) -> int:
    """Write a byte-level BPE tokenizer with a chat template into `folder`; returns the size of its vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|im_end|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(template)
    return int(tokenizer.get_vocab_size())


def write_zeros(folder: Path, layers: int = 0, vocabulary: int = 8, hidden: int = 4) -> None:
    """A model.safetensors with the names of a Llama of so many layers, all zeros: for what reads headers only."""
    import numpy as np
    from safetensors.numpy import save_file

    tensors = {"model.embed_tokens.weight": np.zeros((vocabulary, hidden), np.float16)}
    for n in range(layers):
        for module in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"model.layers.{n}.self_attn.{module}.weight"] = np.zeros((hidden, hidden), np.float16)
    save_file(tensors, folder / "model.safetensors")


def chat(*turns: str, system: str = "") -> list[dict[str, str]]:
    """Messages from turns that alternate between user and assistant."""
    head = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    return head + [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]


def row(ord: int, *turns: str, system: str = "", split: Split = "train") -> SnapshotRow:
    """A frozen row of those messages."""
    messages = chat(*turns, system=system)
    return SnapshotRow(ord, split, "instruction", messages, content_hash(messages))


def rows(many: int = 12, val: int = 0) -> list[SnapshotRow]:
    """Rows of different lengths, with two system texts, some with a history; the last `val` in the val split."""
    names = ("Ember", "Paris", "four", "a tiny assistant", "long ago")
    made = []
    for n in range(many):
        name = names[n % len(names)]
        system = "You are a helpful assistant who answers briefly." if n % 3 == 0 else ""
        before = ("What is your name?", "My name is Ember.") if n % 4 == 1 else ()
        turns = (*before, f"Who are you, number {n}?", f"I am {name}{' indeed' * (n % 3)}.")
        made.append(row(n, *turns, system=system, split="val" if n >= many - val else "train"))
    return made


def config(**changes: object) -> TrainConfig:
    """A short fp32 LoRA run."""
    plain: dict[str, object] = {"model": "tiny", "method": "lora", "dtype": "fp32", "steps": 6, "batch_size": 4}
    return TrainConfig(**{**plain, "rank": 4, "alpha": 8.0, "lr": 1e-2, "max_length": 256, "threads": 1, **changes})  # type: ignore[arg-type]
