"""Chat template and tokens of a bare GGUF file: the template text of its metadata, the ids of llama.cpp's vocabulary.
Rendered the way Hugging Face does it, so a file and a prepared folder of the same model give the same prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn

from engine.chat.backends.llama_binding import Weights
from store.errors import BadInput, Unsupported
from store.records import Message


class GgufTemplate:
    """A template over loaded weights; must not outlive them. Raises Unsupported when the file carries none."""

    def __init__(self, weights: Weights) -> None:
        source = weights.meta("tokenizer.chat_template")
        if not source:
            raise Unsupported(
                "This GGUF file carries no chat template, so nobody can say how to talk to it.",
                where=str(weights.path),
                todo="Use a chat (instruct) model, or a Hugging Face folder with a template.",
            )
        self._weights, self.source = weights, source

    @property
    def stop_ids(self) -> Sequence[int]:
        """Empty: the vocabulary itself tells which tokens end a turn."""
        return ()

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the conversation with the generation prompt at its end.

        Raises BadInput when the template refuses.
        """
        names = {f"{name}_token": self._text(name) for name in ("bos", "eos", "pad")}
        text = self._compiled.render(messages=list(messages), add_generation_prompt=True, tools=None, **names)
        return self._weights.tokenize(text)

    def _text(self, name: str) -> str:
        token = self._weights.special_token(name)
        return self._weights.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    @cached_property
    def _compiled(self) -> Any:
        import jinja2
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> NoReturn:
            raise BadInput(f"The model's chat template refuses this conversation: {message}", where="messages")

        def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
            return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = tojson
        environment.globals["raise_exception"] = refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateError as error:
            raise Unsupported(f"The chat template cannot be read: {error}.", where=str(self._weights.path)) from None
