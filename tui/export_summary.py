"""How both interfaces say what an export is, what its proof found, and how far the making of one is.
Pure functions over records; nothing here knows a widget or the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.export.service import Progress, Request
    from store.records import Export

SIGN: dict[str, tuple[str, str]] = {
    "working": ("◐", "$accent"),
    "done": ("✓", "$success"),
    "rejected": ("✗", "$error"),
    "held": ("✓", "$success"),
    "warn": ("!", "$warning"),
    "failed": ("✗", "$error"),
    "skipped": ("–", "$faint"),
}
"""The sign and its style of an export's state and of a check's."""
_WORD = {"working": "being made", "rejected": "rejected: its proof failed"}
_STAGE = {"write": "writing", "quantise": "quantising", "reference": "asking the run itself", "prove": "proving"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a proof. `state` is held, warn, failed or skipped."""

    name: str
    state: str
    said: str


@dataclass(frozen=True, slots=True)
class Part:
    """How far the work is. `n` of `of` targets, `share` of the stage from 0 to 1, seconds left of the stage."""

    target: str
    n: int
    of: int
    stage: str
    text: str
    share: float | None
    seconds_left: float | None

    @property
    def place(self) -> str:
        """` (1 of 2)`; empty when there is one only."""
        return f" ({self.n} of {self.of})" if self.of > 1 else ""


def title(export: Export) -> str:
    """`gguf q8_0`, `merged` …"""
    return f"{export.format} {export.quant}" if export.quant else export.format


def model_name(export: Export) -> str:
    """The run with the step, if it is not the run's end: `ember`, `ember@40`."""
    return export.run if export.step is None else f"{export.run}@{export.step}"


def state_word(export: Export) -> str:
    """The state in plain words."""
    return _WORD.get(export.state, export.state)


def checks(export: Export) -> list[Check]:
    """What its proof looked at, in the order in which it did."""
    found = export.proof.get("checks", [])
    return [Check(str(each["name"]), str(each["state"]), str(each["said"])) for each in found]


def advice(export: Export) -> str | None:
    """What to make instead, when the proof knows."""
    found = export.proof.get("advice")
    return str(found) if found else None


def divergence(kl: float | None) -> str:
    """`KL 0.0004`: how far from the run, in nats; empty when nobody measured it."""
    return "" if kl is None else f"KL {kl:.4f}" if kl >= 0.00005 or kl == 0 else f"KL {kl:.0e}"


def part_of(request: Request, progress: Progress) -> Part:
    """A line of the process with its place among the targets."""
    titles = [target.title for target in dict.fromkeys(request.targets)]
    n = titles.index(progress.target) + 1 if progress.target in titles else 1
    share = min(1.0, progress.done / progress.total) if progress.total else None
    stage = _STAGE.get(progress.stage, progress.stage)
    return Part(progress.target, n, len(titles), stage, progress.text, share, progress.seconds_left)
