"""Texts of chat templates that a run may choose: for base models without one, and a beginning that folds system texts.
Jinja as Hugging Face's tokenizers, llama.cpp and our own `chat_template` read it. Renders nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import BadInput

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CHATML = (
    "{{ BOS }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + END + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_ALPACA = (
    "{{ BOS }}{% if messages[0]['role'] != 'system' %}{{ 'Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n' }}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n\n' }}"
    "{% else %}{{ '### Response:\n' + message['content'] + END + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
)
_PLAIN = (
    "{{ BOS }}{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User:\n' + message['content'] + '\n\n' }}"
    "{% else %}{{ 'Assistant:\n' + message['content'] + END + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:\n' }}{% endif %}"
)
NAMED: Mapping[str, str] = {"chatml": _CHATML, "alpaca": _ALPACA, "plain": _PLAIN}
"""Templates for models that bring none. BOS and END stand for what the tokenizer begins and ends a text with."""

_FOLD = (
    "{%- set fold = namespace(messages=[], system='') -%}{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{%- set fold.system = fold.system + message['content'] + '\\n\\n' -%}"
    "{%- elif message['role'] == 'user' and fold.system -%}{%- set fold.messages = fold.messages + "
    "[{'role': 'user', 'content': fold.system + message['content']}] -%}{%- set fold.system = '' -%}"
    "{%- else -%}{%- set fold.messages = fold.messages + [message] -%}{%- endif -%}{%- endfor -%}"
    "{%- set messages = fold.messages -%}{{ '' }}"
)
"""Puts each system text before the user's next turn. It ends with an expression, so that no space of the template that
follows is trimmed."""


def is_text(template: str) -> bool:
    """Whether this is a template itself rather than a name or a path."""
    return "{{" in template or "{%" in template


def settled(template: str | None) -> str | None:
    """A choice as a run keeps it: a name or a text; a file is read now. BadInput when it cannot be."""
    if not template or template in NAMED or is_text(template):
        return template or None
    path = Path(template).expanduser()
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInput(
            f"The chat template cannot be read: {reason}.",
            where=template[:200],
            todo=f"Choose {', '.join(NAMED)}, or a file with a Jinja template.",
        ) from None
    if not is_text(text):
        raise BadInput("This file holds no chat template: it has no Jinja in it.", where=template)
    return text


def source(template: str, tokenizer: Tokenizer, special: Mapping[str, str]) -> str:
    """The Jinja text of a choice for this tokenizer. BadInput as `settled`.

    ChatML ends turns with `<|im_end|>` where the tokenizer has that token; all others end with the tokenizer's own
    end-of-text token. A begin-of-text token is written where the tokenizer begins texts with one.
    """
    text = settled(template) or ""
    if text not in NAMED:
        return text
    ends_turn = text == "chatml" and tokenizer.token_to_id("<|im_end|>") is not None
    bos = special.get("bos_token")
    begins = bos is not None and tokenizer.encode("a").ids[:1] == [tokenizer.token_to_id(bos)]
    made = NAMED[text].replace("END", "'<|im_end|>'" if ends_turn else "eos_token")
    return made.replace("{{ BOS }}", "{{ bos_token }}" if begins else "")


def folded(source: str) -> str:
    """The template with system texts put before the user's next turn."""
    return _FOLD + source


def unfolded(source: str) -> str:
    """The template that `folded` was given; any other stays as it is."""
    return source.removeprefix(_FOLD)


def is_folded(source: str) -> bool:
    """Whether `folded` made this template."""
    return source.startswith(_FOLD)
