"""How the next token is chosen: one frozen record that the client sends, the server checks and every backend obeys.
No backend may add a default of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.errors import BadInput

MAX_STOPS = 16


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling of one answer. `temperature` 0 is greedy; `top_k` 0, `top_p` 1, `min_p` 0, `repeat_penalty` 1 are off.

    The filters run in the order penalty, temperature, top_k, top_p, min_p on every backend. `max_tokens` bounds the
    answer, which ends before the first text in `stop`.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int = 0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as the chat API spells them."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repeat_penalty": self.repeat_penalty,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Sampling:
        """Read the sampling fields of a chat request; absent or null means the default, other fields are ignored.

        Raises BadInput that names the field which is of the wrong type or out of range.
        """
        given = {key: body[key] for key in _RANGES if body.get(key) is not None}
        if "max_tokens" not in given and body.get("max_completion_tokens") is not None:
            given["max_tokens"] = body["max_completion_tokens"]
        values: dict[str, Any] = {key: _number(key, value) for key, value in given.items()}
        return cls(**values, stop=_stops(body.get("stop")))


_RANGES: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0.0, 5.0),
    "top_p": (float, 0.0, 1.0),
    "top_k": (int, 0, 1_000_000),
    "min_p": (float, 0.0, 1.0),
    "repeat_penalty": (float, 0.1, 10.0),
    "seed": (int, 0, 2**63 - 1),
    "max_tokens": (int, 1, 1_000_000),
}


def _number(key: str, value: object) -> float | int:
    kind, low, high = _RANGES[key]
    fits = isinstance(value, int | float) and not isinstance(value, bool) and (kind is float or value % 1 == 0)
    if not fits or not low <= value <= high:  # type: ignore[operator]
        name = "a whole number" if kind is int else "a number"
        raise BadInput(f"{key} must be {name} from {low:g} to {high:g}, not {value!r}.", where=key)
    return kind(value)  # type: ignore[no-any-return]


def _stops(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = (value,) if isinstance(value, str) else value
    if (
        not isinstance(texts, list | tuple)
        or len(texts) > MAX_STOPS
        or not all(isinstance(t, str) and t for t in texts)
    ):
        raise BadInput(f"stop must be a text or a list of up to {MAX_STOPS} texts.", where="stop")
    return tuple(texts)
