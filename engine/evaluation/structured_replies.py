"""A model that is asked to judge: one prompt, one reply, held to a JSON schema where its server takes one.
What is asked and how a reply is read belongs to who asks: pairwise, judges.model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from engine.evaluation.client import CompletionClient
from engine.inference.sampling import Sampling
from store.canon import sha256
from store.errors import BadInput, ServerError, TuningforkError

_TOO_LONG = "messages"
"""What the chat server names in its refusal of a prompt that does not fit the context."""
_LONGEST = 512
"""Tokens of a reply: a short sentence in any language, and the JSON around it."""


def too_long(error: TuningforkError) -> bool:
    """Whether a model refused because the prompt does not fit its context."""
    return isinstance(error, BadInput) and error.where == _TOO_LONG


def marked(texts: Mapping[str, str], always: str) -> tuple[str, str]:
    """Texts by their names as a prompt shows them, and the mark that each stands between: made of their own hash, so
    that none of them can contain it. What is empty is left out, but for the text named `always`.

    >>> mark, shown = marked({"rubric": "", "answer": "Four."}, "answer")
    >>> shown == f"The answer:\\n<{mark}>\\nFour.\\n</{mark}>"
    True
    """
    mark = f"text-{sha256(json.dumps(texts))[:12]}"
    parts = [f"The {name}:\n<{mark}>\n{text}\n</{mark}>" for name, text in texts.items() if text or name == always]
    return mark, "\n\n".join(parts)


class StructuredReplies:
    """Replies of one model, greedy with seed 0. Remembers whether it takes a schema: `free` says that it does not."""

    def __init__(self, model: str, schema: str) -> None:
        self._model, self._schema = model, schema
        self.free = False

    async def reply(self, client: CompletionClient, text: str) -> str:
        """The reply to a prompt. A model that refuses the schema, and replies without it, is asked without from then
        on.

        Raises what the server refuses the model with, and ServerError when a reply breaks off.
        """
        if self.free:
            return await self._ask(client, text, None)
        try:
            return await self._ask(client, text, self._schema)
        except TuningforkError as error:
            if too_long(error):
                raise
        found = await self._ask(client, text, None)  # what is wrong besides is raised by this one
        self.free = True
        return found

    async def _ask(self, client: CompletionClient, text: str, schema: str | None) -> str:
        sampling = replace(Sampling(max_tokens=_LONGEST), json_schema=schema)
        done = await client.complete(self._model, [{"role": "user", "content": text}], sampling)
        if done.stop == "error":
            raise ServerError(done.error or "The judge's reply broke off.", todo="Try again.")
        return done.text
