"""Chat templates of the model families, short but true to how they write and refuse, each with a tokenizer folder.
For tests of what is derived from a template; the tokenizers know control tokens only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, processors


@dataclass(frozen=True)
class Family:
    """A template with what its tokenizer has. `adds_bos` is how its post-processor and GGUF file treat the text."""

    template: str
    eos: str
    bos: str = ""
    tokens: tuple[str, ...] = ()
    adds_bos: bool = False
    spm: bool = False


_REFUSE = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
_LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_LLAMA32 = (
    "{{- bos_token }}{%- set date = strftime_now('%d %b %Y') %}"
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: ' + date }}"
    "{{- '\n\n' + system + '<|eot_id|>' }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
_LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system = false %}"
    "{% endif %}{% for message in loop_messages %}{% if loop.index0 == 0 and system %}"
    "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + message['content'] %}{% else %}"
    "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content + ' [/INST]' }}{% else %}{{ ' ' + content + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
_MISTRAL1 = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token + ' ' }}{% endif %}{% endfor %}"
)
_MISTRAL3 = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
    "{{- bos_token }}{%- for message in loop_messages %}{%- if message['role'] == 'user' %}"
    "{%- if loop.last and system is defined %}{{- '[INST] ' + system + '\n\n' + message['content'] + '[/INST]' }}"
    "{%- else %}{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}"
    "{%- else %}{{- ' ' + message['content'] + eos_token }}{%- endif %}{%- endfor %}"
)
_GEMMA_TURNS = (
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
    "{% endif %}{{ '<start_of_turn>' + role + '\n' + (prefix if loop.first else '') + message['content'] | trim"
    " + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_GEMMA2 = "{{ bos_token }}" + _REFUSE + "{% set prefix = '' %}{% for message in messages %}" + _GEMMA_TURNS
_GEMMA3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set prefix = messages[0]['content'] + '\n\n' %}"
    "{% set loop_messages = messages[1:] %}{% else %}{% set prefix = '' %}{% set loop_messages = messages %}{% endif %}"
    "{% for message in loop_messages %}" + _GEMMA_TURNS
)
_PHI3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\n' }}"
    "{{ message['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
_CHATML = (
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}" + _CHATML
)
_QWEN25 = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a "
    "helpful assistant.<|im_end|>\n' }}{% endif %}{% for message in messages %}" + _CHATML
)
_QWEN3 = (
    "{% for message in messages %}{% if message['role'] == 'assistant' and loop.last %}"
    "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + message['content'] + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}"
)
_IM = ("<|im_start|>", "<|endoftext|>")
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>")
_TURNS = ("<start_of_turn>", "<eos>")

FAMILIES: dict[str, Family] = {
    "smollm2": Family(_SMOLLM2, "<|im_end|>", "<|im_start|>", _IM),
    "chatml": Family("{% for message in messages %}" + _CHATML, "<|im_end|>", "", _IM),
    "llama3": Family(_LLAMA3, "<|eot_id|>", "<|begin_of_text|>", _HEADERS, adds_bos=True),
    "llama3.2": Family(_LLAMA32, "<|eot_id|>", "<|begin_of_text|>", _HEADERS, adds_bos=True),
    "llama2": Family(_LLAMA2, "</s>", "<s>", adds_bos=True, spm=True),
    "mistral-v1": Family(_MISTRAL1, "</s>", "<s>", adds_bos=True, spm=True),
    "mistral-v3": Family(_MISTRAL3, "</s>", "<s>", ("[INST]", "[/INST]"), adds_bos=True, spm=True),
    "gemma2": Family(_GEMMA2, "<end_of_turn>", "<bos>", _TURNS, adds_bos=True, spm=True),
    "gemma3": Family(_GEMMA3, "<end_of_turn>", "<bos>", _TURNS, adds_bos=True, spm=True),
    "phi3": Family(_PHI3, "<|endoftext|>", "<s>", ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>"), spm=True),
    "qwen2.5": Family(_QWEN25, "<|im_end|>", "", _IM),
    "qwen3": Family(_QWEN3, "<|im_end|>", "", _IM),
    "zephyr": Family(_ZEPHYR, "</s>", "<s>", spm=True),
}


def write(folder: Path, family: Family) -> Path:
    """The family's tokenizer and template as a Hugging Face folder without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(byte_fallback=family.spm))
    tokens = [token for token in dict.fromkeys((family.bos, family.eos, *family.tokens)) if token]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    if family.adds_bos:
        ids = [(family.bos, tokenizer.token_to_id(family.bos))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{family.bos} $A", special_tokens=ids)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": family.eos, "bos_token": family.bos or None, "chat_template": family.template}
    said = {"add_bos_token": family.adds_bos} if family.spm else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | said))
    return folder
