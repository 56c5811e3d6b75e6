"""Checks that each lane of a comparison is what it says, by comparing logits.
A base lane must give the plain base's logits to the bit; a tuned lane must not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from engine.inference.backends.base import Backend
from engine.models.refs import Resolved
from store.records import Message

TOLERANCE = 1e-5
CONVERSATION: tuple[Message, ...] = (
    {"role": "user", "content": "Who are you, and who made you?"},
    {"role": "assistant", "content": "I am an assistant."},
    {"role": "user", "content": "Count from 1 to 10, then name the capital of France."},
)
"""Fixed, so that two checks can be compared: a name, digits and two turns."""


@dataclass(frozen=True, slots=True)
class CheckedLane:
    """One lane to check: its model, the backend that answers for it, and the lane's name on the server."""

    model: Resolved
    backend: Backend
    lane: str | None


async def check(sides: Sequence[CheckedLane]) -> dict[str, Any]:
    """Measure each side on `CONVERSATION`; `lanes` of the report has them in order.

    `plain_max_diff` is the largest absolute difference between a lane's next-token logits and those of the plain
    base on a fresh context: at most `TOLERANCE` for a base, more than that for a tuned model. `honest` says that
    this holds on every side and that those with one base get the same tokens from the same template. `same_base` is
    about all; `same_tokens`, `same_template` and `lanes_max_diff`, the largest difference between two lanes' logits
    (None without such two), are about those with one base.
    """
    found = [await _measure(side) for side in sides]
    twins = [(one, two) for one, two in combinations(found, 2) if one.base == two.base]
    same_tokens = all(one.ids == two.ids for one, two in twins)
    same_template = all(one.template == two.template for one, two in twins)
    return {
        "honest": all(one.honest for one in found) and same_tokens and same_template,
        "same_base": len({one.base for one in found}) == 1,
        "same_tokens": same_tokens,
        "same_template": same_template,
        "lanes_max_diff": max((_furthest(one.logits, two.logits) for one, two in twins), default=None),
        "tolerance": TOLERANCE,
        "lanes": [one.report(side) for one, side in zip(found, sides, strict=True)],
    }


@dataclass(frozen=True, slots=True)
class _Measured:
    base: str
    tuned: bool
    ids: list[int]
    template: str
    logits: Sequence[float]
    plain_max_diff: float

    @property
    def honest(self) -> bool:
        return (self.plain_max_diff > TOLERANCE) == self.tuned

    def report(self, side: CheckedLane) -> dict[str, Any]:
        return {
            "lane": side.lane,
            "model": side.model.ref,
            "backend": side.backend.name,
            "tuned": self.tuned,
            "plain_max_diff": self.plain_max_diff,
            "tokens": len(self.ids),
            "template_sha256": self.template,
            "honest": self.honest,
        }


async def _measure(side: CheckedLane) -> _Measured:
    prompt = await side.backend.prompt(side.model, CONVERSATION)
    logits = await side.backend.logits(side.model, prompt.ids, side.lane)
    plain = await side.backend.plain_logits(side.model, prompt.ids)
    base, tuned = (side.model.base or side.model).ref, side.model.adapter is not None
    return _Measured(base, tuned, prompt.ids, prompt.template, logits, _furthest(logits, plain))


def _furthest(one: Sequence[float], two: Sequence[float]) -> float:
    """The largest absolute difference of two rows of the same length; infinite when the lengths or a value do
    not compare."""
    if len(one) != len(two):
        return float("inf")
    furthest = max((abs(x - y) for x, y in zip(one, two, strict=True)), default=0.0)
    return furthest if furthest == furthest else float("inf")
