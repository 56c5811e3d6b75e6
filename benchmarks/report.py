"""Output of the benchmarks: rows with a figure and its target, as a table, as JSON, and as Markdown for RESULTS.md."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.core import process

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `target` is the most (`<=`, `<`) or the least (`>=`) that `value` should be, None for a figure
    without one."""

    what: str
    value: float
    unit: str
    target: tuple[str, float] | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        sign, bound = self.target
        return {"<": self.value < bound, "<=": self.value <= bound, ">=": self.value >= bound}[sign]

    @property
    def figure(self) -> str:
        """The value with two to three significant digits."""
        digits = 0 if abs(self.value) >= 100 else 1 if abs(self.value) >= 10 else 2
        return f"{self.value:.{digits}f} {self.unit}".strip()

    @property
    def verdict(self) -> str:
        """The target and whether it is met."""
        if self.target is None:
            return ""
        sign, bound = self.target
        return f"{sign} {bound:g}: {'met' if self.met else 'MISSED'}"


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    wide = max(len(row.what) for row in rows)
    figures = max(len(row.figure) for row in rows)
    verdicts = max(len(row.verdict) for row in rows)
    lines = [f"{r.what:<{wide}}  {r.figure:>{figures}}  {r.verdict:<{verdicts}}  {r.note}".rstrip() for r in rows]
    return "\n".join(lines)


def markdown(title: str, rows: Sequence[Row], remarks: Sequence[str] = ()) -> str:
    """A section for RESULTS.md."""
    lines = [f"## {title}", "", f"{where_and_when()}.", *(["", *remarks] if remarks else []), ""]
    lines += ["| what | measured | target | |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.figure} | {row.verdict} | {row.note} |" for row in rows]
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> str:
    """The rows for a program."""
    facts = {"at": where_and_when(), "rows": [{**asdict(row), "met": row.met} for row in rows]}
    return json.dumps(facts, indent=2)


def show(title: str, rows: Sequence[Row], remarks: Sequence[str], *, json_only: bool) -> None:
    """Print what a script measured."""
    if json_only:
        print(as_json(rows))
    else:
        print(table(rows), "", markdown(title, rows, remarks), sep="\n")


def where_and_when() -> str:
    """Date, processor, cores and commit, in one line."""
    return f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {process.cores()} cores, commit {_commit()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
