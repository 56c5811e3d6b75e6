"""The chat API's answers as OpenAI's clients expect them: a chat's or a plain completion's, in chunks or whole.
Pure functions over JSON; no server, no model. Requests and errors are engine.inference.protocol's."""

from __future__ import annotations

import codecs
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.inference.records import Finish, TokenLogprob


@dataclass(frozen=True, slots=True)
class Completed:
    """A prompt continued by `model`: with `echo` the text begins with the prompt, and the log probabilities with its
    tokens'."""

    model: str
    text: str
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: Finish = field(default_factory=lambda: Finish("length", 0, 0))


_FINISH = {"end": "stop", "length": "length"}


class Reply:
    """Writes one answer to a chat: its id and time are the same in every chunk. `model` is what answers."""

    PREFIX, WHOLE, CHUNK = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model: str) -> None:
        self.head = {"id": f"{self.PREFIX}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def opening(self) -> dict[str, Any]:
        """The first chunk of a stream."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}})

    def piece(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> dict[str, Any]:
        """A chunk with text."""
        return self._chunk({"delta": {"content": text}}, logprobs)

    def reasoning(self, text: str) -> dict[str, Any]:
        """A chunk of what the model thinks; the field's name is that of DeepSeek, vLLM and llama.cpp."""
        return self._chunk({"delta": {"reasoning_content": text}})

    def last(self, finish: Finish, logprobs: Sequence[TokenLogprob] = ()) -> dict[str, Any]:
        """The chunk that ends the answer, with our own figures beside OpenAI's."""
        return {**self._chunk({"delta": {}}, logprobs, finish), "tuningfork": asdict(finish)}

    def usage(self, finish: Finish) -> dict[str, Any]:
        """The chunk that `stream_options.include_usage` asks for."""
        return {**self.head, "object": self.CHUNK, "choices": [], "usage": _usage(finish)}

    def whole(
        self, text: str, finish: Finish, reasoning: str = "", logprobs: Sequence[TokenLogprob] = ()
    ) -> dict[str, Any]:
        """An answer that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if reasoning:
            message["reasoning_content"] = reasoning
        return self._whole({"message": message}, finish, logprobs)

    def _logprobs(self, found: Sequence[TokenLogprob]) -> dict[str, Any]:
        content = [
            {**_token(one.piece, one.logprob), "top_logprobs": [_token(piece, value) for piece, value in one.top]}
            for one in found
        ]
        return {"content": content, "refusal": None}

    def _chunk(
        self, said: dict[str, Any], logprobs: Sequence[TokenLogprob] = (), finish: Finish | None = None
    ) -> dict[str, Any]:
        return {**self.head, "object": self.CHUNK, "choices": [self._choice(said, logprobs, finish)]}

    def _whole(self, said: dict[str, Any], finish: Finish, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
        return {
            **self.head,
            "object": self.WHOLE,
            "choices": [self._choice(said, logprobs, finish)],
            "usage": _usage(finish),
            "tuningfork": asdict(finish),
        }

    def _choice(self, said: dict[str, Any], logprobs: Sequence[TokenLogprob], finish: Finish | None) -> dict[str, Any]:
        why = _FINISH[finish.stop] if finish else None
        return {"index": 0, **said, "logprobs": self._logprobs(logprobs) if logprobs else None, "finish_reason": why}


class TextReply(Reply):
    """The same for the older completions API, whose chunks are called what the whole is. Reasoning has no field."""

    PREFIX, WHOLE, CHUNK = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._decoder, self._offset = codecs.getincrementaldecoder("utf-8")("ignore"), 0

    def opening(self) -> dict[str, Any]:
        return self._chunk({"text": ""})

    def piece(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> dict[str, Any]:
        return self._chunk({"text": text}, logprobs)

    def reasoning(self, text: str) -> dict[str, Any]:
        return self._chunk({"text": ""})

    def last(self, finish: Finish, logprobs: Sequence[TokenLogprob] = ()) -> dict[str, Any]:
        return {**self._chunk({"text": ""}, logprobs, finish), "tuningfork": asdict(finish)}

    def whole(
        self, text: str, finish: Finish, reasoning: str = "", logprobs: Sequence[TokenLogprob] = ()
    ) -> dict[str, Any]:
        return self._whole({"text": text}, finish, logprobs)

    def _logprobs(self, found: Sequence[TokenLogprob]) -> dict[str, Any]:
        offsets = []
        for one in found:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(one.piece))
        return {
            "tokens": [_spelled(one.piece) for one in found],
            "token_logprobs": [one.logprob for one in found],
            "top_logprobs": [_top(one) for one in found],
            "text_offset": offsets,
        }


def completions(choices: Sequence[Completed]) -> dict[str, Any]:
    """The reply to several prompts, or to one that comes back with its answer: a choice for each, numbered."""
    wholes = []
    for at, each in enumerate(choices):
        whole = TextReply(each.model).whole(each.text, each.finish, logprobs=each.logprobs)
        wholes.append(whole["choices"][0] | {"index": at, "tuningfork": whole["tuningfork"]})
    usages = [_usage(each.finish) for each in choices]
    head = TextReply(choices[0].model).head
    total = {key: sum(usage[key] for usage in usages) for key in usages[0]}
    return {**head, "object": TextReply.WHOLE, "choices": wholes, "usage": total}


def _top(one: TokenLogprob) -> dict[str, float] | None:
    """The alternatives and the token itself, as OpenAI has them; of two that are spelled alike the likelier one."""
    if one.logprob is None:
        return None
    found: dict[str, float] = {}
    for piece, value in (*one.top, (one.piece, one.logprob)):
        found.setdefault(_spelled(piece), value)
    return found


def _spelled(piece: bytes) -> str:
    """The text of a token; part of a character as OpenAI writes it.

    >>> _spelled("中".encode()), _spelled("中".encode()[:2])
    ('中', 'bytes:\\\\xe4\\\\xb8')
    """
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def _token(piece: bytes, logprob: float | None) -> dict[str, Any]:
    return {"token": piece.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(piece)}


def _usage(finish: Finish) -> dict[str, int]:
    return {
        "prompt_tokens": finish.prompt_tokens,
        "completion_tokens": finish.tokens,
        "total_tokens": finish.prompt_tokens + finish.tokens,
    }
