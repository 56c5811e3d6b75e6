"""What went wrong in a run, by evidence: data that contradicts itself, rows cut off, a rate too high, too few steps, a
system text that questions lack. Each cause names what it was seen in, and what would fix it: settings, or rows.

Light: rows, tokens, and the numbers that the run recorded; no model is loaded. `engine.training.fixing` starts the run
that a fix describes.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.training.config import TrainConfig
from engine.training.estimate import total_steps
from engine.training.preflight import Preflight
from engine.training.recipes import DEFAULT, RECIPES, config_for
from engine.training.stop_rules import IDENTITY, LEAKS, LEARNED, PROBE_METRIC
from store.records import SnapshotRow

NO_CAUSE = "No cause was found in data, truncation, rate, steps or system text."
MANY = 0.05
"""The share of rows from which on a fault of the data counts as a cause."""
_ALIKE = 0.5  # answers that share so many of their words say the same
_TOO_HIGH = 3.0  # times the rate of the recipe for this model
_LEAST_VISITS = 0.5  # of one pass over the data
_FORGOTTEN = 0.15  # lost share of the general probes that counts as forgetting


@dataclass(frozen=True, slots=True)
class Fix:
    """What to change in the next run: fields of the configuration, rows to leave out (by their `ord`), and whether the
    system texts of the rows are left out."""

    words: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    without: frozenset[int] = frozenset()
    no_system: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing to blame: its `kind` (data, truncation, rate, steps, system), the evidence in a sentence, how strong
    it is from 0 to 1, and the fix. `rows` are the rows, by `ord`, that show it."""

    kind: str
    evidence: str
    weight: float
    fix: Fix
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunDiagnosis:
    """How a run came out, in sentences, and its causes, the strongest first."""

    outcome: tuple[str, ...]
    causes: tuple[Cause, ...]

    @property
    def fix(self) -> Fix | None:
        """The fix of the strongest cause."""
        return self.causes[0].fix if self.causes else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a diagnosis reads: the configuration, the frozen rows, how they become tokens, and the recorded numbers:
    metric name -> (step, value) in order. `longest` is the tokens of the longest row when none is cut, `asked_system`
    the system text with which the probes were asked."""

    config: TrainConfig
    rows: Sequence[SnapshotRow]
    preflight: Preflight
    metrics: Mapping[str, Sequence[tuple[int, float]]]
    step: int
    longest: int
    asked_system: str = ""


def diagnose(found: Evidence) -> RunDiagnosis:
    """Look for each cause; those without evidence are not named."""
    made = (_contradictions(found), _truncation(found), _rate(found), _steps(found), _system(found))
    causes = sorted((cause for cause in made if cause is not None), key=lambda cause: -cause.weight)
    return RunDiagnosis(tuple(_outcome(found)), tuple(causes))


# ---------------------------------------------------------------- outcome


def _outcome(found: Evidence) -> list[str]:
    said = []
    for name, points in sorted(found.metrics.items()):
        if not name.startswith(PROBE_METRIC) or not points:
            continue
        set_name, last, first = name.removeprefix(PROBE_METRIC), points[-1][1], points[0][1]
        if set_name == IDENTITY:
            said.append(f"The identity {'stuck' if last >= LEARNED else 'did not stick'}: {last:.0%} of its probes.")
        elif set_name == LEAKS:
            said.append(f"{1 - last:.0%} of the general questions are answered with the taught names.")
        else:
            change = "" if len(points) < 2 else f", {first:.0%} at step {points[0][0]}"
            said.append(f"{last:.0%} of the {set_name} probes pass{change}.")
    if drift := found.metrics.get("drift"):
        said.append(f"Drift from the base is {drift[-1][1]:.3f} nats per token.")
    if not said:
        said.append(
            "The run asked itself nothing, so what it learned and forgot is not known: train with --watch"
            " identity,general,leaks --drift."
        )
    return said


# ---------------------------------------------------------------- causes


def _contradictions(found: Evidence) -> Cause | None:
    groups: dict[tuple[str, str], list[SnapshotRow]] = defaultdict(list)
    train = [row for row in found.rows if row.split == "train"]
    for row in train:
        groups[_system_of(row), _plain(_question(row))].append(row)
    losing: list[int] = []
    example = ""
    for rows in groups.values():
        camps = _camps(rows)
        if len(camps) < 2:
            continue
        losing += [row.ord for camp in camps[1:] for row in camp]
        if not example:
            one, other = camps[0][0], camps[1][0]
            example = f"{_short(_question(one))!r} is answered {_short(_answer(one))!r} and {_short(_answer(other))!r}"
    if not losing or len(losing) < max(2, MANY * len(train)):
        return None
    return Cause(
        "data",
        f"{_rows(len(losing))} of {len(train)} contradict another answer to the same question: {example}.",
        min(1.0, 0.6 + len(losing) / len(train)),
        Fix(
            f"leaves out {_rows(len(losing))} whose answer is the rarer one, or the older one",
            without=frozenset(losing),
        ),
        tuple(losing),
    )


def _camps(rows: Sequence[SnapshotRow]) -> list[list[SnapshotRow]]:
    """Rows of one question by what they answer, the largest camp first, the newer one of equal ones."""
    camps: list[list[SnapshotRow]] = []
    for row in rows:
        words = _words(_answer(row))
        for camp in camps:
            others = _words(_answer(camp[0]))
            if len(words & others) >= _ALIKE * len(words | others):
                camp.append(row)
                break
        else:
            camps.append([row])
    return sorted(camps, key=lambda camp: (-len(camp), -max(row.ord for row in camp)))


def _truncation(found: Evidence) -> Cause | None:
    preflight = found.preflight
    cut = sorted({*preflight.truncated, *preflight.masked})
    total = preflight.rows + preflight.val_rows
    if len(cut) < max(1, MANY * total):
        return None
    longest = 64 * math.ceil(max(found.longest, found.config.max_length + 1) / 64)
    return Cause(
        "truncation",
        f"{_rows(len(cut))} of {total} lose their end to the max length of {found.config.max_length:,} tokens.",
        min(1.0, 0.65 + 0.35 * len(cut) / total),
        Fix(f"raises the max length to {longest:,} tokens", {"max_length": longest}),
        tuple(number - 1 for number in cut),
    )


def _rate(found: Evidence) -> Cause | None:
    usual = config_for(_recipe(found.config), found.config.model).lr
    times = found.config.lr / usual
    losses = [value for _, value in found.metrics.get("loss", ())]
    signs = []
    if len(losses) >= 4:
        start, lowest, end = losses[0], min(losses), _mean(losses[-max(2, len(losses) // 8) :])
        if end > max(1.3 * lowest + 0.1, start):
            signs.append(f"the loss ends at {end:.2f} after {lowest:.2f} and {start:.2f} at the start")
        if max(losses) > 1.3 * start + 0.5:
            signs.append(f"the loss rose to {max(losses):.2f} from {start:.2f}")
    drift = [value for _, value in found.metrics.get("drift", ())]
    if drift and drift[-1] > 1.0:
        signs.append(f"the model moved {drift[-1]:.2f} nats per token from its base")
    general = [value for _, value in found.metrics.get(f"{PROBE_METRIC}general", ())]
    if len(general) > 1 and max(general) - general[-1] > _FORGOTTEN:
        signs.append(f"general probes fell from {max(general):.0%} to {general[-1]:.0%}")
    if times < _TOO_HIGH or not signs:
        return None
    return Cause(
        "rate",
        f"The learning rate of {found.config.lr:g} is {times:.1f} times what the recipe takes for this model, and"
        f" {', and '.join(signs)}.",
        min(1.0, 0.7 + 0.1 * len(signs)),
        Fix(f"takes the recipe's learning rate of {usual:g}", {"lr": usual}),
    )


def _steps(found: Evidence) -> Cause | None:
    config, rows = found.config, found.preflight.rows
    planned = max(1, found.step)
    usual = total_steps(config_for(_recipe(config), config.model), rows)
    visits = planned * config.step_rows / max(1, rows)
    losses = [value for _, value in found.metrics.get("loss", ())]
    learned = [value for _, value in found.metrics.get(PROBE_METRIC + IDENTITY, ())]
    if learned and learned[-1] >= LEARNED:
        return None
    signs = []
    if visits < _LEAST_VISITS:
        signs.append(f"each row was seen {visits:.1f} times")
    if len(losses) >= 4:
        quarter = max(1, len(losses) // 4)
        late, before = _mean(losses[-quarter:]), _mean(losses[-2 * quarter : -quarter])
        if late < 0.93 * before:
            signs.append(f"the loss was still falling, from {before:.2f} to {late:.2f} in the last half")
    if not signs and len(losses) >= 2 and losses[-1] > 0.6 * losses[0]:
        signs.append(f"the loss had fallen only from {losses[0]:.2f} to {losses[-1]:.2f}")
    if not signs or planned >= usual * 0.75:
        return None
    return Cause(
        "steps",
        f"{_count(planned, 'step')} instead of the {usual} of the recipe: {', and '.join(signs)}.",
        min(1.0, 0.5 + 0.4 * (1 - planned / usual)),
        Fix(f"takes {_count(usual, 'step')}", {"steps": usual}),
    )


def _system(found: Evidence) -> Cause | None:
    train = [row for row in found.rows if row.split == "train"]
    systems = Counter(_system_of(row) for row in train)
    with_text = [row.ord for row in train if _system_of(row) != found.asked_system]
    if not train or len(with_text) < 0.8 * len(train):
        return None
    identity = [value for _, value in found.metrics.get(PROBE_METRIC + IDENTITY, ())]
    if identity and identity[-1] >= LEARNED:
        return None  # it answers without the text all the same
    text = systems.most_common(1)[0][0]
    asked = f"with {_short(found.asked_system)!r}" if found.asked_system else "without one"
    measured = f"; {identity[-1]:.0%} of the identity probes pass" if identity else ""
    return Cause(
        "system",
        f"{_rows(len(with_text))} of {len(train)} are trained with the system text {_short(text)!r}, but questions are"
        f" asked {asked}{measured}.",
        0.75 if identity else 0.55,
        Fix("leaves the system texts out of the rows", no_system=True),
        tuple(with_text),
    )


# ---------------------------------------------------------------- texts


def _recipe(config: TrainConfig) -> str:
    return config.recipe if config.recipe in RECIPES else DEFAULT


def _question(row: SnapshotRow) -> str:
    return "\n".join(m["content"] for m in row.messages[:-1] if m["role"] != "system")


def _answer(row: SnapshotRow) -> str:
    return row.messages[-1]["content"]


def _system_of(row: SnapshotRow) -> str:
    return row.messages[0]["content"] if row.messages[0]["role"] == "system" else ""


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _words(text: str) -> set[str]:
    """Words, and single characters of scripts without spaces."""
    return set(re.findall(r"[a-z0-9à-ɏ]+|[^\W a-z0-9à-ɏ]", text.casefold()))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _rows(many: int) -> str:
    return _count(many, "row")


def _count(many: int, what: str) -> str:
    return f"{many:,} {what}{'s'[: many != 1]}"
