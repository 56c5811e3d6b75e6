"""Should you tune at all? The same test rows answered by the base alone, with examples, with retrieval, tuned, and
tuned with retrieval; and the one sentence that follows. Pure: the sides are asked like those of any evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.evaluating import TEST, EvaluationRequest

_BASE = ({"kind": "few_shot"}, {"kind": "retrieval"})


def contexts(request: EvaluationRequest, shots: int) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The further sides: the base with examples and with retrieval, and every tuned model with retrieval.

    The base is what the models are compared with, or the model itself where there is only one.
    """
    base = request.against or request.models[0]
    more = [(base, {**context, "k": shots}) for context in _BASE]
    tuned = [model for model in request.models if model != base]
    return tuple(more + [(model, {"kind": "retrieval", "k": shots}) for model in tuned])


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get answers: how good they were (the deciding metric), and what each cost."""

    side: str
    tuned: bool
    plain: bool
    value: float | None
    low: float | None
    high: float | None
    prompt_tokens: float
    tokens: float
    seconds: float
    cost_per_1000: float | None


def table(report: Mapping[str, Any], price_in: float | None = None, price_out: float | None = None) -> list[Way]:
    """The ways of a report, those with the same test rows, the best first. Prices are for a million tokens; with them
    `cost_per_1000` is what 1,000 questions cost in the same currency."""
    part = next((each for each in report["parts"] if each["part"] == TEST), None)
    if part is None:
        return []
    measured = {metric["name"]: metric for metric in part["metrics"]}
    deciding = measured[part["deciding"]]
    values = {each["side"]: each for each in deciding["values"]}
    asked = sum(each["rows"] for each in report["parts"])
    found = []
    for side in report["sides"]:
        if side["role"] == "floor":
            continue
        prompt, said, took = (side[key] / asked for key in ("prompt_tokens", "tokens", "seconds"))
        cost = None
        if price_in is not None and price_out is not None:
            cost = (prompt * price_in + said * price_out) / 1000
        value = values[side["side"]]
        plain = not side["context"]
        found.append(Way(
            side["side"], side["model"] != _base(report), plain, value["value"], value["low"], value["high"], prompt,
            said, took, cost,
        ))  # fmt: skip
    sign = 1 if deciding["better"] == "lower" else -1
    return sorted(found, key=lambda way: (way.value is None, sign * (way.value or 0.0)))


def advice(report: Mapping[str, Any]) -> str:
    """One sentence: tune, prompt, or neither, and the evidence. "" where there was only one way.

    The simplest way wins unless another is better by more than the rows can tell: the base alone, then a prompt, then
    tuning.
    """
    part = next((each for each in report["parts"] if each["part"] == TEST), None)
    ways = table(report)
    if part is None or len(ways) < 2:
        return ""
    deciding = next(each for each in part["metrics"] if each["name"] == part["deciding"])
    better = {each["side"] for each in deciding["differences"] if each["better"]}
    base = next((way for way in ways if way.plain and not way.tuned), None)
    if base is None:
        return ""
    prompted = _first(
        ways, [way for way in ways if not way.plain and not way.tuned and _above(way, base, deciding, better)]
    )
    tuned = _first(ways, [way for way in ways if way.tuned and _above(way, base, deciding, better)])
    say = _Sayer(deciding)
    if tuned is None and prompted is None:
        if any(way.tuned for way in ways):
            return f"Neither a prompt nor tuning is better than the base beyond chance ({say(base)}): improve the data."
        return f"A prompt is not better than the base beyond chance ({say(base)}): tuning is worth trying."
    if tuned is None:
        if any(way.tuned for way in ways):
            return (
                f"Do not ship the tuned model: a prompt does it ({say(prompted)}), tuning is not better than the base."
            )
        return f"Try prompting first: {say(prompted)}, the base alone {say(base)}."
    if prompted is not None and not _clearly(tuned, prompted, deciding["better"]):
        return f"Prompting does as well: {say(prompted)}, tuned {say(tuned)}; tuning saves {_saved(tuned, prompted)}."
    beside = f", the best prompt {say(prompted)}" if prompted is not None else f", the base alone {say(base)}"
    return f"Tuning pays: {say(tuned)}{beside}."


class _Sayer:
    """A way with its figure in words."""

    def __init__(self, metric: Mapping[str, Any]) -> None:
        self._title, self._digits = metric["title"], metric["digits"]

    def __call__(self, way: Way | None) -> str:
        assert way is not None and way.value is not None
        return f"{way.side} has {self._title} {way.value:.{self._digits}f}"


def _base(report: Mapping[str, Any]) -> str:
    sides: Sequence[Mapping[str, Any]] = report["sides"]
    return str(next((side["model"] for side in sides if side["role"] == "against"), sides[0]["model"]))


def _first(ways: Sequence[Way], among: Sequence[Way]) -> Way | None:
    return next((way for way in ways if way in among), None)


def _above(way: Way, base: Way, metric: Mapping[str, Any], better: set[str]) -> bool:
    """Whether a way is better than the base beyond noise: by the paired difference where it was taken."""
    if any(each["side"] == way.side for each in metric["differences"]):
        return way.side in better
    return _clearly(way, base, metric["better"])


def _clearly(one: Way, two: Way, better: str) -> bool:
    """Whether the intervals of two ways do not overlap, and the first is the better one."""
    if None in (one.low, one.high, two.low, two.high):
        return False
    return one.high < two.low if better == "lower" else one.low > two.high  # type: ignore[operator]


def _saved(tuned: Way, prompted: Way) -> str:
    less = prompted.prompt_tokens - tuned.prompt_tokens
    return f"{less:.0f} prompt tokens a question" if less >= 1 else "nothing"
