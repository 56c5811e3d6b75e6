"""How a run answers at less or more than its full strength: its identity, general questions and leaks over the scale of
its adapter, and the smallest strength that keeps the identity. An evaluation whose sides are `run:NAME*STRENGTH`.

The run as it is stands as what the others are compared with, so that every difference is a paired one, and the noise
floor is how far the run is from itself when only the seed differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation import evaluating, reuse, suites
from engine.evaluation.evaluating import SUITE_LONGEST, EvaluationPlan, EvaluationRequest
from engine.evaluation.verdict_parts import IDENTITY
from engine.inference.sampling import Sampling
from engine.models import refs
from engine.models.refs import Ref
from engine.models.strength import MOST
from store.db import Store
from store.errors import BadInput, ServerError
from store.records import Probe

AT = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""The strengths that are asked unless others are named; 1, the run as it is, is always asked."""


@dataclass(frozen=True, slots=True)
class PartShare:
    """Which share of a part passed, from 0 to 1, with its 95% interval."""

    share: float
    low: float
    high: float
    of: int


@dataclass(frozen=True, slots=True)
class StrengthPoint:
    """The run at one strength. `difference` is its identity's share minus that of the run as it is; `better` whether it
    is above or below that beyond noise, None for neither."""

    strength: float
    model: str
    parts: Mapping[str, PartShare]
    difference: float
    better: bool | None


@dataclass(frozen=True, slots=True)
class StrengthCurve:
    """The points in the order of their strengths, the noise floor of the identity, and what follows from them:
    `recommended` is a strength, None where none is better than leaving the adapter out."""

    points: tuple[StrengthPoint, ...]
    floor: float
    recommended: float | None
    said: str


def plan(
    store: Store, model: str, at: Sequence[float], probes: Mapping[str, Sequence[Probe]], more: Sequence[str] = ()
) -> EvaluationPlan:
    """What is asked: the probe sets, of which `identity` must be one, and the suites in `more`, at every strength.

    BadInput for what is no run at its own strength, for strengths out of range, and for a run without identity probes;
    what `refs.resolve` raises, and Unsupported for an adapter that has no strength.
    """
    ref = Ref.read(model)
    if not ref.is_run or ref.strength is not None:
        raise BadInput(f"{model} is no run at its own strength.", where="RUN", todo="Write run:NAME or run:NAME@STEP.")
    if not probes.get(IDENTITY):
        todo = "Say the name it was taught: --set name=NAME --set author=MAKER"
        raise BadInput(f"{model} has no identity probes: its data shows no name.", where="RUN", todo=todo)
    whole = Ref.read(refs.resolve(store, model).ref)
    models = tuple(str(Ref.run(whole.value, whole.step, each)) for each in checked(at) if each != 1)
    rows = [row for name, asked in probes.items() for row in suites.from_probes(name, asked)]
    rows += [row for name in more for row in suites.rows(name)]
    request = EvaluationRequest(models, against=str(whole), floor=True, sampling=Sampling(max_tokens=SUITE_LONGEST))
    return evaluating.plan(store, request, rows)


def checked(at: Sequence[float]) -> list[float]:
    """The strengths in order, each once. BadInput for one out of range or too fine, and where there is only 1."""
    for each in at:
        if not 0 <= each <= MOST or round(each, 4) != each:
            what = f"The strength {each:g} is not between 0 and {MOST:g} with at most four decimals."
            raise BadInput(what, where="--at", todo="Write some like 0,0.5,1.")
    if not set(at) - {1}:
        raise BadInput("There is no strength to try besides 1.", where="--at", todo="Write some like 0,0.5,1.")
    return sorted(set(at))


def read(store: Store, planned: EvaluationPlan) -> tuple[StrengthCurve, list[int]]:
    """The curve of a plan that was asked, and the evaluations that its figures come from. ServerError when a part is
    not there."""
    reports: dict[str, dict[str, Any]] = {}
    numbers: list[int] = []
    for part in reuse.parts(planned.rows):
        found = reuse.finished(store, planned, part)
        if found is None or found.report is None:
            raise ServerError(f"The part {part} has not been answered.", todo="Give the same command again.")
        own = next(each for each in found.report["parts"] if each["part"] == part)
        metric = next(each for each in own["metrics"] if each["name"] == own["deciding"])
        reports[part] = {"rows": own["rows"], **metric}
        numbers.append(found.id)
    points = []
    for side in planned.sides:
        if side.role == "floor":
            continue
        shares = {part: _share(metric, side.label) for part, metric in reports.items()}
        change: dict[str, Any] = next(
            (each for each in reports[IDENTITY]["differences"] if each["side"] == side.label), {}
        )
        strength = Ref.read(side.model).strength
        points.append(
            StrengthPoint(
                1.0 if strength is None else strength, side.model, shares, change.get("difference", 0.0),
                change.get("better"),
            )
        )  # fmt: skip
    points.sort(key=lambda point: point.strength)
    floor = float(reports[IDENTITY]["floor"])
    recommended, said = recommend(points, floor)
    return StrengthCurve(tuple(points), floor, recommended, said), list(dict.fromkeys(numbers))


def recommend(points: Sequence[StrengthPoint], floor: float) -> tuple[float | None, str]:
    """The smallest strength that keeps the identity within noise, and why, in a sentence.

    A strength keeps it when its identity falls by no more than the noise floor below that of the run as it is, and so
    does that of every strength between it and 1. None where strength 0, the base, keeps it too: then there is nothing
    to keep.

    >>> def point(strength, share):
    ...     parts = {"identity": PartShare(share, 0.0, 1.0, 20)}
    ...     return StrengthPoint(strength, f"run:x*{strength:g}", parts, share - 1, None)
    >>> recommend([point(0, 0.0), point(0.5, 0.6), point(0.75, 0.95), point(1, 1.0)], 0.1)[0]
    0.75
    >>> recommend([point(0, 0.95), point(1, 1.0)], 0.1)[0] is None
    True
    """
    kept = []
    for point in sorted((each for each in points if each.strength <= 1), key=lambda each: -each.strength):
        if point.difference < -floor - 1e-9:  # shares of few probes are no exact binary fractions
            break
        kept.append(point)
    best, whole = kept[-1], kept[0].parts[IDENTITY].share
    if best.strength == 0:
        return None, "The run's identity is not above its base's beyond noise: no strength can be recommended."
    above = [point for point in points if point.strength > 1 and point.better]
    more = f" At {above[0].strength:g} it is better beyond noise." if above else ""
    if best.strength == 1:
        return 1.0, f"No smaller strength that was tried keeps the identity within noise ({whole:.2f} at 1).{more}"
    share = best.parts[IDENTITY].share
    said = f"The smallest strength that keeps the identity within noise is {best.strength:g}"
    return best.strength, f"{said} ({share:.2f}, {whole:.2f} at 1): {best.model}.{more}"


def _share(metric: Mapping[str, Any], label: str) -> PartShare:
    value = next(each for each in metric["values"] if each["side"] == label)
    return PartShare(value["value"], value["low"], value["high"], metric["rows"])
