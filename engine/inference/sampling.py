"""How the next token is chosen: one frozen record that the client sends, the server checks and every backend obeys.
No backend may add a default of its own, or leave out a field that is set: it refuses what it cannot do."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.inference.limits import LONGEST_SCHEMA, TO_CONTEXT_END
from store.errors import BadInput

MAX_STOPS = 16
MAX_TOP_LOGPROBS = 20
_MAX_BIASES = 1024


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling of one answer. `temperature` 0 is greedy; `top_k` 0, `top_p` 1, `min_p` 0, `repeat_penalty` 1 are off.

    The order is the same on every backend: bias, penalties, temperature, top_k, top_p, min_p. `max_tokens` bounds the
    answer, which ends before the first text in `stop`. `repeat_penalty` looks back at the last `PENALTY_WINDOW`
    tokens of the answer; `presence_penalty` and `frequency_penalty` are OpenAI's and look at all of it. `logit_bias`
    is added to the logits of tokens. `json_schema` is the JSON text of a schema that the answer must follow.
    `top_logprobs` asks for the log probability of each token and of so many alternatives; None asks for none.
    `thinking` is the chat template's `enable_thinking`, as Qwen3's has it; None leaves the choice to the template.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int = 0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    json_schema: str | None = None
    top_logprobs: int | None = None
    thinking: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields as the chat API spells them; those after `stop` only where they are set."""
        extras: dict[str, Any] = {
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": {str(token): bias for token, bias in self.logit_bias},
        }
        if self.json_schema is not None:
            schema = {"name": "answer", "schema": json.loads(self.json_schema)}
            extras["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self.thinking is not None:
            extras["chat_template_kwargs"] = {"enable_thinking": self.thinking}
        if self.top_logprobs is not None:
            extras |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repeat_penalty": self.repeat_penalty,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
            **{key: value for key, value in extras.items() if value or key == "top_logprobs"},
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Sampling:
        """Read the sampling fields of a chat request; absent or null means the default, other fields are ignored.

        `max_tokens` -1 is the context's end, `seed` -1 a random one, `top_k` -1 is off; too large a `max_tokens` or
        `top_k` counts as the largest. Raises BadInput that names the field which is of the wrong type or out of range.
        """
        given = {key: body[key] for key in _RANGES if body.get(key) is not None}
        for key, alias in _ALIASES.items():
            if key not in given and body.get(alias) is not None:
                given[key] = body[alias]
        values: dict[str, Any] = {key: _number(key, value) for key, value in given.items()}
        return cls(
            **values,
            stop=_stops(body.get("stop")),
            logit_bias=_biases(body.get("logit_bias")),
            json_schema=_schema(body.get("response_format")),
            top_logprobs=_top_logprobs(body.get("logprobs"), body.get("top_logprobs")),
            thinking=_thinking(body),
        )


_ALIASES = {"max_tokens": "max_completion_tokens", "repeat_penalty": "repetition_penalty"}
_RANGES: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0.0, 5.0),
    "top_p": (float, 0.0, 1.0),
    "top_k": (int, 0, 1_000_000),
    "min_p": (float, 0.0, 1.0),
    "repeat_penalty": (float, 0.1, 10.0),
    "seed": (int, 0, 2**63 - 1),
    "max_tokens": (int, 1, TO_CONTEXT_END),
    "presence_penalty": (float, -2.0, 2.0),
    "frequency_penalty": (float, -2.0, 2.0),
}
_CLAMPED = ("top_k", "max_tokens", "seed")
"""Fields of which too large a value means the largest."""


def _number(key: str, value: object) -> float | int:
    kind, low, high = _RANGES[key]
    fits = isinstance(value, int | float) and not isinstance(value, bool) and (kind is float or value % 1 == 0)
    if fits and value == -1 and kind is int:
        return {"top_k": 0, "max_tokens": TO_CONTEXT_END, "seed": secrets.randbelow(2**31)}[key]
    if fits and key in _CLAMPED:
        value = min(value, high)  # type: ignore[call-overload]
    if not fits or not low <= value <= high:  # type: ignore[operator]
        name = "a whole number" if kind is int else "a number"
        raise BadInput(f"{key} must be {name} from {low:g} to {high:g}, not {value!r}.", where=key)
    return kind(value)  # type: ignore[no-any-return]


def _stops(value: object) -> tuple[str, ...]:
    """The stop texts; an empty one stops nothing and is left out."""
    if value is None:
        return ()
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or len(texts) > MAX_STOPS or not all(isinstance(t, str) for t in texts):
        raise BadInput(f"stop must be a text or a list of up to {MAX_STOPS} texts.", where="stop")
    return tuple(text for text in texts if text)


def _biases(value: object) -> tuple[tuple[int, float], ...]:
    if value is None:
        return ()
    wrong = BadInput(
        f"logit_bias must be an object of up to {_MAX_BIASES:,} token ids, each with a number from -100 to 100.",
        where="logit_bias",
    )
    if not isinstance(value, dict) or len(value) > _MAX_BIASES:
        raise wrong
    found = []
    for token, bias in value.items():
        known = str(token).isascii() and str(token).isdigit() and len(str(token)) < 10
        if not known or not isinstance(bias, int | float) or isinstance(bias, bool) or not -100 <= bias <= 100:
            raise wrong
        found.append((int(token), float(bias)))
    return tuple(sorted(found))


def _schema(value: object) -> str | None:
    """The JSON text of the schema that a `response_format` names; any object for `json_object`."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return json.dumps({"type": "object"})
    named = value.get("json_schema") if isinstance(value, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadInput(
            "response_format must have the type text, json_object, or json_schema with a json_schema.schema.",
            where="response_format",
        )
    text = json.dumps(schema, ensure_ascii=False)
    if len(text) > LONGEST_SCHEMA:
        raise BadInput(f"The schema has more than {LONGEST_SCHEMA:,} characters.", where="response_format")
    return text


def _thinking(body: Mapping[str, Any]) -> bool | None:
    """`enable_thinking` of the request, or of its `chat_template_kwargs` as vLLM and llama.cpp's server name it."""
    named = body.get("chat_template_kwargs")
    if named is not None and not isinstance(named, dict):
        raise BadInput("chat_template_kwargs must be an object.", where="chat_template_kwargs")
    if other := sorted(set(named or {}) - {"enable_thinking"}):
        what = f"chat_template_kwargs holds {other[0]!r}; only enable_thinking can be set."
        raise BadInput(what, where="chat_template_kwargs", todo=f"Leave {other[0]} out.")
    value = (named or {}).get("enable_thinking", body.get("enable_thinking"))
    if value not in (None, True, False):
        raise BadInput("enable_thinking must be true or false.", where="enable_thinking")
    return value  # type: ignore[no-any-return]


def _top_logprobs(wanted: object, top: object) -> int | None:
    if wanted not in (None, True, False):
        raise BadInput("logprobs must be true or false.", where="logprobs")
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or not 0 <= top <= MAX_TOP_LOGPROBS):
        raise BadInput(f"top_logprobs must be a whole number from 0 to {MAX_TOP_LOGPROBS}.", where="top_logprobs")
    if top and not wanted:
        raise BadInput("top_logprobs needs logprobs to be true.", where="top_logprobs")
    return int(top or 0) if wanted else None  # type: ignore[call-overload]
