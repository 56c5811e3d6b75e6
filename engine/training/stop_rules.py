"""When a run that watches itself ends early, and which of its measurements becomes its result.
Only numbers; measuring is the worker's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

STOP_RULES = ("never", "val-loss", "probes", "drift", "learned")
RESULTS = ("last", "val-loss", "probes", "learned")
LEARNED = 0.95
"""The share of the identity probes from which on a name counts as learned."""
FEW_LEAKS = 0.9
"""The share of the leak probes without a leak from which on rule `learned` may end a run."""
TOO_FAR = 1.0
"""Drift in nats per token at which rule `drift` ends a run: the tuned model has lost its base's answers by then."""
PROBE_METRIC = "probe_"
"""What the metrics of probe sets begin with in the store: `probe_identity` is the share of that set that passed."""
LEAKS = "leaks"
IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured after a step: the validation loss, the drift (mean KL divergence of the tuned model from its
    base, in nats per token), and the share of each probe set that passed. None and {} where it is not measured."""

    step: int
    val_loss: float | None = None
    drift: float | None = None
    passed: Mapping[str, float] = field(default_factory=dict)

    @property
    def learned(self) -> bool:
        """Whether the identity probes pass; False when there are none."""
        return self.passed.get(IDENTITY, 0.0) >= LEARNED


def reason_to_stop(rule: str, seen: Sequence[Measurement]) -> str:
    """Why a run ends after the last of these measurements, in a sentence; "" when it goes on.

    >>> climb = [Measurement(8, None, 0.2, {"identity": 0.7}), Measurement(16, None, 0.3, {"identity": 1.0})]
    >>> reason_to_stop("learned", climb)
    ''
    >>> reason_to_stop("learned", [*climb, Measurement(24, None, 0.4, {"identity": 1.0})])
    'The identity is learned, and drift has risen from 0.300 to 0.400 since.'
    """
    now, before = seen[-1], seen[-2] if len(seen) > 1 else None
    match rule:
        case "val-loss":
            losses = [m.val_loss for m in seen if m.val_loss is not None]
            if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
                return f"The validation loss has risen twice, from {losses[-3]:.4f} to {losses[-1]:.4f}."
        case "probes":
            if now.passed and all(share == 1.0 for share in now.passed.values()):
                return "Every probe passes."
        case "drift":
            if now.drift is not None and now.drift > TOO_FAR:
                return f"Drift is {now.drift:.3f} nats per token, above {TOO_FAR:g}."
        case "learned":
            if before is None or not (before.learned and now.learned) or now.passed.get(LEAKS, 1.0) < FEW_LEAKS:
                return ""  # the steps to come, at a falling rate, take leaks away
            if before.drift is not None and now.drift is not None and now.drift > before.drift:
                return f"The identity is learned, and drift has risen from {before.drift:.3f} to {now.drift:.3f} since."
    return ""


def best(measure: str, seen: Sequence[Measurement]) -> Measurement:
    """The measurement whose weights become the result; the earlier one of equal ones. The last for `last`,
    and where what the measure looks at was not measured.

    `learned` adds up the identity's share, twice and as far as it must be, the share without leaks, and the mean of the
    other probes; of equal ones the least drift. A sum, because one probe more or less is chance.

    >>> a = Measurement(16, 1.0, 0.3, {"identity": 0.96, "general": 0.6, "leaks": 1.0})
    >>> b = Measurement(24, 0.9, 0.5, {"identity": 1.0, "general": 0.5, "leaks": 1.0})
    >>> best("learned", [a, b]).step, best("val-loss", [a, b]).step, best("last", [a, b]).step
    (16, 24, 24)
    """
    known = {
        "last": False,
        "val-loss": any(m.val_loss is not None for m in seen),
        "probes": any(m.passed for m in seen),
        "learned": any(IDENTITY in m.passed for m in seen),
    }
    if not known[measure]:
        return seen[-1]

    def worth(m: Measurement) -> tuple[float, ...]:
        drift = -m.drift if m.drift is not None else 0.0
        others = [share for name, share in m.passed.items() if name not in (IDENTITY, LEAKS)]
        if measure == "val-loss":
            return (-m.val_loss if m.val_loss is not None else -math.inf,)
        if measure == "probes":
            return (sum(m.passed.values()), drift)
        identity = 2 * min(m.passed.get(IDENTITY, 0.0), LEARNED)
        return (identity + m.passed.get(LEAKS, 0.0) + sum(others) / max(1, len(others)), drift)

    return max(seen, key=worth)
