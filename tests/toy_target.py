"""An export target that no other module knows: what adding one takes, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.export import verification
from engine.export.request import Target
from engine.export.targets.base import ExportTarget, ExportUse, Writing
from engine.export.verification import Step, VerificationCheck, Written
from engine.models.refs import Resolved


class ToyTarget(ExportTarget):
    """One text file that names the run."""

    name = "toy"
    help = "a toy"
    quants = ("t1", "t2")
    default_quant = "t1"

    def size(self, model: Resolved, quant: str | None) -> int:
        return 11

    def write(self, work: Writing, target: Target, folder: Path, name: str) -> Written:
        work.tell("write", "Carving", 1, 1)
        (folder / "toy.txt").write_text(f"{work.run.name} as {target.quant}")
        return Written(folder, quant=target.quant)

    def checks(self) -> Sequence[Step]:
        def looks(measured: object, written: Written, report: verification.Report) -> verification.Checks:
            good = "as " in (written.folder / "toy.txt").read_text()
            yield VerificationCheck("carving", "passed" if good else "failed", "It is a toy.")

        return (looks,)

    def commands(self, use: ExportUse) -> list[tuple[str, str]]:
        return [("play", f"play {use.path} {use.name}")]
