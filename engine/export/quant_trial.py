"""`--quant auto`: makes every quant of a run, with and without an importance matrix, verifies each and recommends one.
The files are temporary; make.py then makes the recommended one as if it had been asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.export import quant_mix, verification
from engine.export.reference_measurements import ReferenceMeasurements
from engine.export.request import AUTO, Target
from engine.export.targets.base import Writing
from engine.export.targets.gguf import DIRECT, NEEDS_MATRIX, QUANTS, write_gguf
from engine.gguf import model
from store.errors import TuningforkError

CLOSE_KL = verification.LIMITS["coarse"][0]
"""Mean KL divergence, nats, up to which a quant counts as close to the run."""


@dataclass(frozen=True, slots=True)
class TriedQuant:
    """One quant that was made and measured: `importance` says whether columns were weighed, `kl` is the mean
    divergence from the run in nats, `failed` names the checks that it failed, `tokens_per_s` is one lane's here."""

    quant: str
    importance: bool
    bytes: int
    kl: float | None
    passed: bool
    failed: tuple[str, ...]
    tokens_per_s: float | None
    mostly: str
    lost_probes: bool = False
    """It passed fewer probes than the run, though chance may explain it."""

    @property
    def close(self) -> bool:
        """Whether it passed every check, lost no probes to speak of, and its logits are no further from the run's than
        `CLOSE_KL`."""
        return self.passed and not self.lost_probes and self.kl is not None and self.kl <= CLOSE_KL


def run(work: Writing, measurements: ReferenceMeasurements) -> list[TriedQuant]:
    """Make and measure every candidate, the largest first; a few seconds each for a small model.

    Raises what writing raises. A quant that llama.cpp cannot make of this model is left out of the list with a failed
    check `made`.
    """
    matrix = work.importance()
    source = write_gguf(work, "f16", work.scratch / "trial-f16.gguf")
    candidates = _candidates()
    tried = []
    for number, (quant, weighed) in enumerate(candidates):
        name = f"{quant} with an importance matrix" if weighed else quant
        work.tell("try", f"Trying {name}", number, len(candidates))
        out = work.scratch / "trial.gguf"
        try:
            if quant in DIRECT:
                write_gguf(work, quant, out)
            else:
                model.quantise(source, out, quant, importance=matrix if weighed else None)
        except TuningforkError:
            tried.append(TriedQuant(quant, weighed, 0, None, False, ("made",), None, ""))
            continue
        measurements.tell = partial(_tell_the_quant, work, f"Trying {name}", number, len(candidates))
        tried.append(_tried(quant, weighed, out, measurements))
        out.unlink()
    source.unlink()
    return tried


def _tell_the_quant(work: Writing, name: str, number: int, of: int, text: str, done: int, total: int) -> None:
    """The bar counts quants; what happens to one is too short for a bar of its own."""
    work.tell("try", f"{name}: {text}", number, of)


def recommended(tried: Sequence[TriedQuant]) -> TriedQuant | None:
    """The smallest that is close to the run; where none is, the smallest that passed; None when all failed.

    Of two of one size the one that is nearer: a matrix costs no bytes.
    """
    for good in ([each for each in tried if each.close], [each for each in tried if each.passed]):
        if good:
            return min(good, key=lambda each: (each.bytes, each.kl if each.kl is not None else float("inf")))
    return None


def target_of(asked: Target, best: TriedQuant) -> Target:
    """The target that `auto` stood for."""
    assert asked.quant == AUTO
    return Target(asked.format, best.quant, best.importance)


def as_json(tried: Sequence[TriedQuant]) -> list[dict[str, Any]]:
    """The table, the largest first, as it is kept in the export's verification."""
    best = recommended(tried)
    return [
        asdict(each) | {"failed": list(each.failed), "recommended": each is best}
        for each in sorted(tried, key=lambda each: -each.bytes)
    ]


def _candidates() -> list[tuple[str, bool]]:
    """Every quant below 16 bits, plain and weighed, largest first. llama.cpp weighs no column of q8_0."""
    found: list[tuple[str, bool]] = []
    for quant in sorted(QUANTS, key=lambda quant: -QUANTS[quant]):
        if QUANTS[quant] < 2 and quant not in NEEDS_MATRIX:
            found.append((quant, False))
        if quant not in DIRECT:
            found.append((quant, True))
    return found


def _tried(quant: str, weighed: bool, out: Path, measurements: ReferenceMeasurements) -> TriedQuant:
    report = verification.verify(measurements, verification.Written(out.parent, out, quant), verification.GGUF)
    failed = tuple(str(check["name"]) for check in report["checks"] if check["state"] == "failed")
    lost = any(check["name"] == "probes" and check["state"] != "passed" for check in report["checks"])
    mostly = quant_mix.mostly(quant_mix.in_file(out), quant)
    return TriedQuant(
        quant, weighed, out.stat().st_size, report["kl"], verification.passed(report), failed,
        report.get("tokens_per_s"), mostly, lost,
    )  # fmt: skip
