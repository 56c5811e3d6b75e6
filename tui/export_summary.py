"""How both interfaces describe an export: what its verification found, and how far a job is.
Pure functions over records; nothing here knows a widget or the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui.formatting import count, size

if TYPE_CHECKING:
    from store.records import Export, JobProgress

SIGN: dict[str, tuple[str, str]] = {
    "working": ("◐", "$accent"),
    "done": ("✓", "$success"),
    "rejected": ("✗", "$error"),
    "passed": ("✓", "$success"),
    "warn": ("!", "$warning"),
    "failed": ("✗", "$error"),
    "skipped": ("–", "$faint"),
}
"""The sign and its style of an export's state and of a check's."""
_WORD = {"working": "being made", "rejected": "rejected: it failed its verification"}
_STAGE = {"write": "writing", "quantise": "quantizing", "verify": "verifying", "measure": "measuring", "try": "trying"}


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One line of a verification. `state` is passed, warn, failed or skipped."""

    name: str
    state: str
    said: str


def title(export: Export) -> str:
    """`gguf q8_0`, `merged`, `gguf q4_k_m (mostly Q5_0)` where something else is in it than its quant says."""
    named = f"{export.format} {export.quant}" if export.quant else export.format
    notes = [export.verification.get("mostly"), "with a matrix" if export.verification.get("importance") else None]
    said = ", ".join(str(note) for note in notes if note)
    return f"{named} ({said})" if said else named


def model_name(export: Export) -> str:
    """The run, with the step unless it is its final weights and the strength unless it is its own: `ember`, `ember@40`,
    `ember*0.7`."""
    strength = export.verification.get("strength")
    at = f"@{export.step}" if export.step is not None else ""
    return export.run + at + (f"*{strength:g}" if strength is not None else "")


def message(export: Export) -> str:
    """What its upload is called on the hub: `ember@40: gguf q8_0, by Tuningfork`."""
    return f"{model_name(export)}: {title(export)}, by Tuningfork"


def state_word(export: Export) -> str:
    """The state in plain words."""
    return _WORD.get(export.state, export.state)


def checks(export: Export) -> list[CheckLine]:
    """What its verification looked at, in order. Exports of earlier versions say held for passed."""
    found = export.verification.get("checks", [])
    states = {"held": "passed"}
    return [
        CheckLine(str(each["name"]), states.get(each["state"], str(each["state"])), str(each["said"])) for each in found
    ]


def tried(export: Export) -> list[tuple[str, str, str, str, str, str]]:
    """The quants among which `auto` chose: sign, quant, size, KL, tokens/s, and what it failed or is mostly made of."""
    rows = []
    for each in export.verification.get("tried", []):
        state = "passed" if each["passed"] and each["recommended"] else "warn" if each["passed"] else "failed"
        name = f"{each['quant']} with a matrix" if each["importance"] else str(each["quant"])
        speed = f"{each['tokens_per_s']:.0f}/s" if each["tokens_per_s"] else ""
        note = f"failed {', '.join(each['failed'])}" if each["failed"] else str(each["mostly"])
        sign = SIGN[state][0] if each["recommended"] or not each["passed"] else " "
        rows.append((sign, name, size(each["bytes"]) if each["bytes"] else "", divergence(each["kl"]), speed, note))
    return rows


def advice(export: Export) -> str | None:
    """What to make instead, when the verification knows."""
    found = export.verification.get("advice")
    return str(found) if found else None


def sending(files: int, bytes: int, repo: str, private: bool) -> str:
    """What is asked before an upload.

    >>> sending(2, 2000, "northwind/ember", True)
    'Send 2 files, 2.0 kB, to huggingface.co/northwind/ember, as a private repository if it is new?'
    """
    seen = "as a private repository" if private else "where everyone can read them"
    return f"Send {count(files, 'file')}, {size(bytes)}, to huggingface.co/{repo}, {seen} if it is new?"


def divergence(kl: float | None) -> str:
    """`KL 0.0004`: how far from the run, in nats; empty when it was not measured."""
    return "" if kl is None else f"KL {kl:.4f}" if kl >= 0.00005 or kl == 0 else f"KL {kl:.0e}"


def stage(progress: JobProgress) -> str:
    """`writing`, `verifying` …"""
    return _STAGE.get(progress.stage, progress.stage)
