"""The chat API's shapes: requests read and checked, answers and errors written as OpenAI clients expect them.
Pure functions over JSON; no server, no model."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.inference.limits import LANE_NAMES, LONGEST_LANE
from engine.inference.records import Finish
from engine.inference.sampling import Sampling
from store import errors
from store.errors import BadInput, TuningforkError
from store.records import Message

ROLES = frozenset({"system", "user", "assistant"})
_STATUS = {
    "BadInput": 400,
    "Unsupported": 400,
    "NotFound": 404,
    "Conflict": 409,
    "NoSpace": 507,
    "NewerStore": 409,
    "ServerError": 503,
}
_FINISH = {"end": "stop", "length": "length"}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request for an answer."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    lane: str | None
    stream: bool
    include_usage: bool


class Refusal(Exception):
    """An error that is answered with this status instead of its usual one, and when to try again."""

    def __init__(self, error: TuningforkError, status: int, retry_after: int | None = None) -> None:
        super().__init__(str(error))
        self.error, self.status, self.retry_after = error, status, retry_after


def parse_body(raw: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises BadInput."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The request is not valid JSON: {error}.", where="body") from None
    if not isinstance(body, dict):
        raise BadInput("The request must be a JSON object.", where="body")
    return body


def parse_chat(body: Mapping[str, Any]) -> ChatRequest:
    """Read a chat-completions request.

    Raises BadInput naming the field; unknown fields are ignored, as OpenAI's own are many.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadInput("messages must be a list with at least one message.", where="messages")
    if body.get("n") not in (None, 1):
        raise BadInput("Only one answer a request is made: n must be 1.", where="n")
    if body.get("tools") or body.get("functions"):
        raise BadInput("Tools are not supported.", where="tools", todo="Leave tools out.")
    lane = body.get("lane")
    if lane is not None and (not isinstance(lane, str) or not 0 < len(lane) <= LONGEST_LANE):
        raise BadInput(f"lane must be a text of 1 to {LONGEST_LANE} characters.", where="lane")
    options = body.get("stream_options")
    return ChatRequest(
        model=text_field(body, "model"),
        messages=_conversation(messages),
        sampling=Sampling.from_json(body),
        lane=lane,
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def text_field(body: Mapping[str, Any], name: str) -> str:
    """A field that must be a text with something in it."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{name} must be a text that is not empty.", where=name)
    return value


def parse_lanes(body: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Model and, where given, lane of each of `lanes`. Raises BadInput naming the field."""
    raw = body.get("lanes")
    if (
        not isinstance(raw, list)
        or not 1 <= len(raw) <= len(LANE_NAMES)
        or not all(isinstance(one, dict) for one in raw)
    ):
        raise BadInput(
            f"lanes must be a list of 1 to {len(LANE_NAMES)} objects with a model and a lane.", where="lanes"
        )
    return [(text_field(one, "model"), one["lane"] if isinstance(one.get("lane"), str) else None) for one in raw]


def _conversation(raw: list[Any]) -> tuple[Message, ...]:
    messages = tuple(_message(at, one) for at, one in enumerate(raw))
    if any(m["role"] == "system" for m in messages[1:]):
        raise BadInput("A system message may only come first.", where="messages")
    if messages[-1]["role"] != "user":
        raise BadInput("The last message must be the user's.", where="messages")
    prompt = messages[-1]["content"]
    if not prompt.strip():
        raise BadInput("The prompt is empty.", where="messages", todo="Write a question.")
    odd = next((c for c in prompt if ord(c) < 32 and not c.isspace()), None)
    if odd is not None:
        raise BadInput(
            f"The prompt holds a control character (U+{ord(odd):04X}).",
            where="messages",
            todo="Remove it and send again.",
        )
    return messages


def _message(at: int, raw: Any) -> Message:
    where = f"messages[{at}]"
    if not isinstance(raw, dict):
        raise BadInput("A message must be an object with role and content.", where=where)
    role, content = raw.get("role"), raw.get("content")
    role = "system" if role == "developer" else role
    if role not in ROLES:
        raise BadInput(f"The role must be system, user or assistant, not {role!r}.", where=f"{where}.role")
    if isinstance(content, list):  # OpenAI's content parts; only text ones can be answered
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise BadInput("Only text content is supported.", where=f"{where}.content")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise BadInput("The content must be a text.", where=f"{where}.content")
    # A lone surrogate (half of a broken escape) has no UTF-8 form and no token.
    return {"role": role, "content": content.encode("utf-8", "replace").decode()}


class ChatReply:
    """Writes one answer: its id and time are the same in every chunk."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def piece(self, text: str, *, first: bool) -> dict[str, Any]:
        """A chunk with text."""
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])

    def last(self, finish: Finish) -> dict[str, Any]:
        """The chunk that ends the answer, with our own figures beside OpenAI's."""
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": _FINISH[finish.stop]}
        return {**self._chunk([choice]), "tuningfork": asdict(finish)}

    def usage(self, finish: Finish) -> dict[str, Any]:
        """The chunk that `stream_options.include_usage` asks for."""
        return {**self._chunk([]), "usage": _usage(finish)}

    def whole(self, text: str, finish: Finish) -> dict[str, Any]:
        """An answer that is not streamed."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[finish.stop]}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(finish),
            "tuningfork": asdict(finish),
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}


def _usage(finish: Finish) -> dict[str, int]:
    return {
        "prompt_tokens": finish.prompt_tokens,
        "completion_tokens": finish.tokens,
        "total_tokens": finish.prompt_tokens + finish.tokens,
    }


def error_body(error: TuningforkError) -> dict[str, Any]:
    """OpenAI's error shape, with our what, where and todo in it."""
    named = error.as_dict()
    message = f"{error.what} {error.todo}" if error.todo else error.what
    return {
        "error": {
            "message": message,
            "type": named.pop("error"),
            "param": error.where,
            "code": type(error).__name__,
            **named,
        }
    }


def status_of(error: TuningforkError) -> int:
    """The HTTP status of an error."""
    return next((_STATUS[c.__name__] for c in type(error).__mro__ if c.__name__ in _STATUS), 500)


def error_from(body: Any) -> TuningforkError | None:
    """The error that `error_body` wrote, as what it was; also what other OpenAI-compatible servers send.

    None for no error.
    """
    inner = body.get("error") if isinstance(body, dict) else None
    if isinstance(inner, str):
        return errors.ServerError(inner)
    if not isinstance(inner, dict):
        return None
    kind = errors.kind_named(inner.get("type"), errors.ServerError)
    return kind(
        str(inner.get("what") or inner.get("message") or "The server gave no reason."),
        where=inner.get("where"),
        todo=inner.get("todo"),
    )
