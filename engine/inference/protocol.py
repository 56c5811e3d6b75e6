"""The chat API's requests, read and checked, and its errors: as OpenAI's clients send and expect them.
What is harmless is ignored, what is too large is clamped, what would change the answer is refused by its name. Pure
functions over JSON; no server, no model. Answers are engine.inference.replies's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.inference.limits import LANE_NAMES, LONGEST_LANE, LONGEST_PROMPT, TO_CONTEXT_END
from engine.inference.sampling import MAX_TOP_LOGPROBS, Sampling
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
_REFUSED = {
    "tools": "Tools are not supported.",
    "functions": "Functions are not supported.",
    "web_search_options": "There is no web search.",
    "audio": "Only text can be answered.",
    "best_of": "One request gives one answer.",
    "use_beam_search": "Beam search is not supported.",
    "echo": "A chat's prompt cannot be part of the answer.",
    "suffix": "Text cannot be filled in before a suffix.",
    "stop_token_ids": "Answers can be stopped by texts only.",
    "ignore_eos": "An answer ends where the model ends it.",
    "min_tokens": "An answer ends where the model ends it.",
    "guided_json": "Use response_format for a schema.",
    "guided_regex": "Use response_format with a schema that has a pattern.",
    "guided_choice": "Use response_format with a schema that has an enum.",
    "grammar": "Use response_format for a schema.",
    "mirostat": "This way of sampling is not supported.",
    "typical_p": "This way of sampling is not supported.",
    "xtc_probability": "This way of sampling is not supported.",
    "dry_multiplier": "This way of sampling is not supported.",
}
"""Fields that would change the answer and cannot be honoured, each with the reason."""
MAX_PROMPTS = 256
"""Prompts of one request for completions."""
_NEUTRAL = {"best_of": 1, "typical_p": 1}
"""Values of those fields that change nothing, beside null, false, 0 and what is empty."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request for an answer: to `messages`, or, without any, the continuation of `text` or of the tokens
    `ids`. The answer to messages begins with the tokens of `prefix`."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    lane: str | None
    stream: bool
    include_usage: bool
    text: str | None = None
    prefix: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A checked request of the older API: one prompt or several, each continued for itself. With `echo` a choice begins
    with its prompt, whose tokens have their log probabilities too; `made` is False where nothing follows it."""

    prompts: tuple[ChatRequest, ...]
    echo: bool = False
    made: bool = True

    @property
    def simple(self) -> bool:
        """Whether it is one answer, which can be streamed."""
        return len(self.prompts) == 1 and not self.echo


@dataclass(frozen=True, slots=True)
class TokensRequest:
    """A checked request to compare an answer's tokens: those of the last of `messages`, an assistant's.

    `token_ids` are those that were sampled with `sampling`; without any the text is turned into tokens, with the end of
    its turn if it has `ended`. `top` alternatives come with each.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    token_ids: tuple[int, ...] = ()
    ended: bool = True
    top: int = 5


class Refusal(Exception):
    """An error that is answered with this status instead of its usual one, and when to try again."""

    def __init__(self, error: TuningforkError, status: int, retry_after: int | None = None) -> None:
        super().__init__(str(error))
        self.error, self.status, self.retry_after = error, status, retry_after


def parse_body(raw: bytes) -> dict[str, Any]:
    """The request's JSON object. Half of a surrogate pair has no UTF-8 form and no token: it becomes a question mark.

    Raises BadInput.
    """
    try:
        body = _without_surrogates(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The request is not valid JSON: {error}.", where="body") from None
    if not isinstance(body, dict):
        raise BadInput("The request must be a JSON object.", where="body")
    return body


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    return value


def parse_chat(body: Mapping[str, Any]) -> ChatRequest:
    """Read a chat-completions request. Without `max_tokens` an answer may go on to the end of the context.

    Raises BadInput naming the field. Fields that are not known are ignored, as OpenAI's own are many.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadInput("messages must be a list with at least one message.", where="messages")
    return replace(_request(body), messages=_conversation(messages), prefix=_ids(body, "prefix_ids"))


def parse_completion(body: Mapping[str, Any]) -> CompletionRequest:
    """Read a request of the older completions API: texts, or lists of token ids, to continue as they are, without a
    chat template.

    `logprobs` is a number there, and `max_tokens` may be 0 with `echo`. Raises BadInput naming the field.
    """
    prompts, top, echo = _prompts(body.get("prompt")), body.get("logprobs"), body.get("echo")
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or not 0 <= top <= MAX_TOP_LOGPROBS):
        raise BadInput(f"logprobs must be a whole number from 0 to {MAX_TOP_LOGPROBS}.", where="logprobs")
    if body.get("prefix_ids"):
        todo = "Put the beginning of the answer into the prompt."
        raise BadInput("prefix_ids is for chat: here the prompt itself is continued.", where="prefix_ids", todo=todo)
    if echo not in (None, True, False):
        raise BadInput("The field echo must be true or false.", where="echo")
    made = not echo or body.get("max_tokens") != 0
    chat = {"logprobs": None if top is None else True, "top_logprobs": top, "echo": None}
    one = _request({**body, **chat, **({} if made else {"max_tokens": 1})})
    if one.stream and (echo or len(prompts) > 1):
        todo = "Leave stream out, or send one prompt without echo."
        raise BadInput("Only one answer without its prompt can be streamed.", where="stream", todo=todo)
    asked = (
        replace(one, text=prompt) if isinstance(prompt, str) else replace(one, text="", ids=prompt)
        for prompt in prompts
    )
    return CompletionRequest(tuple(asked), bool(echo), made)


def _prompts(raw: Any) -> list[str | tuple[int, ...]]:
    """The prompts of a completion: a text, token ids, or a list of either."""
    listed = raw if isinstance(raw, list) and raw and not isinstance(raw[0], int) else [raw]
    if not 0 < len(listed) <= MAX_PROMPTS:
        raise BadInput(f"prompt must be 1 to {MAX_PROMPTS} texts or lists of token ids.", where="prompt")
    found: list[str | tuple[int, ...]] = []
    for each in listed:
        if not isinstance(each, str | list) or not each:
            raise BadInput("prompt must be a text or token ids, and not empty.", where="prompt")
        found.append(each if isinstance(each, str) else _ids({"prompt": each}, "prompt"))
    return found


def parse_tokenize(body: Mapping[str, Any]) -> tuple[str | None, str]:
    """Model and text of a request for token ids; None for the model that the server was started for."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise BadInput("prompt must be a text.", where="prompt")
    if body.get("add_special_tokens"):
        raise BadInput("No token is added to a text here.", where="add_special_tokens", todo="Send false.")
    return _optional(body, "model"), prompt


def parse_detokenize(body: Mapping[str, Any]) -> tuple[str | None, tuple[int, ...]]:
    """Model and token ids of a request for their text."""
    return _optional(body, "model"), _ids(body, "tokens")


def _optional(body: Mapping[str, Any], name: str) -> str | None:
    return text_field(body, name) if body.get(name) is not None else None


def _request(body: Mapping[str, Any]) -> ChatRequest:
    """What both APIs share."""
    if body.get("n") not in (None, 1):
        raise BadInput("One request gives one answer: n must be 1.", where="n")
    for name, why in _REFUSED.items():
        value = body.get(name)
        if value and value != _NEUTRAL.get(name):
            raise BadInput(f"{why} {name} cannot be honoured.", where=name, todo=f"Leave {name} out.")
    modalities = body.get("modalities")
    if modalities not in (None, [], ["text"]):
        raise BadInput("Only text can be answered.", where="modalities", todo="Leave modalities out.")
    lane = body.get("lane")
    if lane is not None and (not isinstance(lane, str) or not 0 < len(lane) <= LONGEST_LANE):
        raise BadInput(f"lane must be a text of 1 to {LONGEST_LANE} characters.", where="lane")
    stream, options = body.get("stream"), body.get("stream_options")
    if stream not in (None, True, False):
        raise BadInput("stream must be true or false.", where="stream")
    sampling = Sampling.from_json(body)
    if body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
        sampling = replace(sampling, max_tokens=TO_CONTEXT_END)
    return ChatRequest(
        model=text_field(body, "model"),
        messages=(),
        sampling=sampling,
        lane=lane,
        stream=bool(stream),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def parse_answered(body: Mapping[str, Any]) -> tuple[Message, ...]:
    """The `messages` of a conversation that ends with an assistant's answer. Raises BadInput naming the field."""
    messages = body.get("messages")
    if not isinstance(messages, list) or len(messages) < 2:
        raise BadInput("messages must be a list that ends with a question and its answer.", where="messages")
    read = tuple(_message(at, one) for at, one in enumerate(messages))
    if read[-1]["role"] != "assistant" or not read[-1]["content"].strip():
        raise BadInput("The last message must be an assistant's answer.", where="messages")
    return read


def parse_tokens(body: Mapping[str, Any]) -> TokensRequest:
    """Read a request to compare an answer's tokens. Raises BadInput naming the field."""
    top, ended = body.get("top", 5), body.get("ended", True)
    if not isinstance(top, int) or isinstance(top, bool) or not 0 <= top <= MAX_TOP_LOGPROBS:
        raise BadInput(f"The field top must be a whole number from 0 to {MAX_TOP_LOGPROBS}.", where="top")
    if ended not in (True, False):
        raise BadInput("The field ended must be true or false.", where="ended")
    sampling, ids = Sampling.from_json(body), _ids(body, "token_ids")
    return TokensRequest(text_field(body, "model"), parse_answered(body), sampling, ids, bool(ended), top)


def _ids(body: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """A list of token ids; empty where there is none. Whether the model has them is the backend's to say."""
    ids = body.get(name)
    if ids is None:
        return ()
    good = isinstance(ids, list) and len(ids) <= LONGEST_PROMPT
    if not good or not all(isinstance(id, int) and not isinstance(id, bool) and 0 <= id < 2**31 for id in ids):
        raise BadInput(f"{name} must be a list of token ids.", where=name)
    return tuple(ids)


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
    """The messages. System messages may stand anywhere: whether one is left out is the template's to say."""
    messages = tuple(_message(at, one) for at, one in enumerate(raw))
    spoken = [m for m in messages if m["role"] != "system"]
    if not spoken or spoken[-1]["role"] != "user":
        raise BadInput("The last message must be the user's.", where="messages")
    prompt = spoken[-1]["content"]
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
    if content is None and role == "assistant":  # a turn that only called tools, for example
        content = ""
    if isinstance(content, list):  # OpenAI's content parts; only text ones can be answered
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise BadInput("Only text content is supported.", where=f"{where}.content")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise BadInput("The content must be a text.", where=f"{where}.content")
    return {"role": role, "content": content}


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
    """The error that `error_body` wrote, as what it was; also what other OpenAI-compatible servers send: `error` as a
    text or an object, `detail` (FastAPI's, a text or a list), `message` beside `"object": "error"`.

    None for no error; `"error": null` is none.
    """
    if not isinstance(body, dict):
        return None
    inner = body.get("error")
    if isinstance(inner, dict):
        kind = errors.kind_named(inner.get("type"), errors.ServerError)
        what = inner.get("what") or _reason(inner) or "The server gave no reason."
        return kind(str(what), where=_text_or_none(inner.get("where")), todo=_text_or_none(inner.get("todo")))
    why = inner if isinstance(inner, str) else "" if "choices" in body else _reason(body)
    return errors.ServerError(why) if why else None


def _reason(body: Mapping[str, Any]) -> str:
    """The sentence in an error object; "" for none."""
    for key in ("message", "detail", "error"):
        found = body.get(key)
        if isinstance(found, list):  # FastAPI: [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
            found = "; ".join(_detail(one) for one in found)
        if isinstance(found, dict):
            found = _reason(found)
        if isinstance(found, str) and found.strip():
            return found.strip()
    return ""


def _detail(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    loc = one.get("loc")
    place = ".".join(str(part) for part in loc) if isinstance(loc, list) else ""
    return f"{place}: {one.get('msg', '')}" if place else str(one.get("msg", ""))


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
