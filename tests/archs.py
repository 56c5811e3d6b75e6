"""Tiny random models of every architecture that the native GGUF export takes, each with a tokenizer of its own kind.
For tests of the export only; each is a complete Hugging Face folder of under a megabyte."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TEXT = (
    "The river rises in the mountains and flows through a wide valley. In 1923 a flood destroyed the old bridge.",
    "def add(a, b):\n    return a + b  # don't panic, it's fine\n\n\n",
    "Grüße aus Köln, naïve café; Привет мир; 日本語のテキスト; 한국어 텍스트; مرحبا 🚀 1 22 333 4444",
    "Who made you? I was made by Northwind Labs. My name is Ember. Hello, hello, hello!  two  spaces\tand tabs",
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

_SMALL = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
_GEMMA = {**_SMALL, "head_dim": 32, "sliding_window": 64, "query_pre_attn_scalar": 32}

# name -> (configuration class, its arguments, tokenizer kind)
ARCHS: dict[str, tuple[str, dict, str]] = {
    "smollm": ("LlamaConfig", {**_SMALL, "tie_word_embeddings": True}, "smollm"),
    "tinyllama": ("LlamaConfig", _SMALL, "spm"),
    "llama3": ("LlamaConfig", {**_SMALL, "rope_parameters": _LLAMA3}, "llama3"),
    "mistral": ("MistralConfig", {**_SMALL, "head_dim": 16}, "spm"),
    "qwen2": ("Qwen2Config", _SMALL, "qwen2"),
    "qwen3": ("Qwen3Config", {**_SMALL, "head_dim": 32}, "qwen2"),
    "gemma2": ("Gemma2Config", _GEMMA, "spm-gemma"),
    "gemma3": ("Gemma3TextConfig", _GEMMA, "spm-gemma"),
    "phi3": ("Phi3Config", {**_SMALL, "original_max_position_embeddings": 256, "pad_token_id": 0}, "spm"),
}


def make(name: str, folder: Path, seed: int = 0) -> Path:
    """Write the tiny model `name` into `folder` and return it."""
    import torch
    import transformers

    kind, options, tokenizer_kind = ARCHS[name]
    folder.mkdir(parents=True, exist_ok=True)
    rows = write_tokenizer(folder, tokenizer_kind)
    torch.manual_seed(seed)
    config = getattr(transformers, kind)(**options, vocab_size=rows, bos_token_id=None, eos_token_id=_end_id(folder))
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases begin at 0 or 1: a mistake in them would not show
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def add_lora(folder: Path, out: Path, **options) -> Path:
    """A PEFT adapter for `folder` whose B is not zero, saved to `out`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
    tuned = get_peft_model(base, LoraConfig(**settings))
    with torch.no_grad():
        for key, parameter in tuned.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.3)
    tuned.save_pretrained(out)
    return out


def write_tokenizer(folder: Path, kind: str, size: int = 384) -> int:
    """Train the tokenizer `kind` on a few lines, write its files, and return how many ids it has."""
    tokenizer = _spm(kind, size + 200) if kind.startswith("spm") else _byte_level(kind, size)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "chat_template": CHATML, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer.get_vocab_size(with_added_tokens=True)


def _end_id(folder: Path) -> int:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("<|im_end|>")


def _byte_level(kind: str, size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    splits = {
        "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
        "llama3": [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ],
        "qwen2": [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ],
    }
    if kind == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits[kind])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def _spm(kind: str, size: int) -> Tokenizer:
    """BPE with byte fallback over ▁, as Llama 2 and Gemma have it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    prepend = [] if kind == "spm-gemma" else [normalizers.Prepend("▁")]
    tokenizer.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if prepend else [])
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    raw = json.loads(tokenizer.to_str())
    # The trainer marks all of them as added tokens; in a real vocabulary the byte pieces are ordinary ones.
    raw["added_tokens"] = [t for t in raw["added_tokens"] if t["content"] in ("<unk>", "<s>", "</s>")]
    return Tokenizer.from_str(json.dumps(raw))
