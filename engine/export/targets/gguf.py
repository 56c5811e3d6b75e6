"""The merged model as one GGUF file, in any of llama.cpp's number types."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.export import quant_mix
from engine.export.request import AUTO, Target
from engine.export.targets import shell
from engine.export.targets.base import ExportTarget, ExportUse, Writing, weight_count
from engine.models.refs import Resolved

if TYPE_CHECKING:
    from engine.export.verification import Step, Written

QUANTS: dict[str, float] = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 1.0625, "q6_k": 0.82, "q5_k_m": 0.72, "q4_k_m": 0.62, "q4_1": 0.63,
    "q4_0": 0.57, "iq4_xs": 0.55, "q3_k_m": 0.5, "iq3_m": 0.47, "iq2_m": 0.35,
}  # fmt: skip
"""What a GGUF can hold, in bytes per weight; K-quants roughly, llama.cpp mixes types."""
DIRECT = ("f32", "f16", "bf16", "q8_0")
"""Written as they are; the others are quantised by llama.cpp from a float16 file, which is deleted at once."""

NEEDS_MATRIX = ("iq2_m",)
"""What llama.cpp makes only with an importance matrix."""


class GgufTarget(ExportTarget):
    """See the module."""

    name = "gguf"
    help = "one GGUF file for llama.cpp, LM Studio and everything built on them"
    quants = (AUTO, *QUANTS)
    default_quant = "q8_0"
    tags = ("gguf",)
    whole_gguf = True
    one_file = True

    def stem(self, quant: str | None) -> str:
        return quant or self.name

    def size(self, model: Resolved, quant: str | None) -> int:
        if quant == AUTO:
            quant = DIRECT[-1]  # the largest that it can end with
        return sum(quant_mix.expected(model, str(quant)).values()) or int(weight_count(model) * QUANTS[str(quant)])

    def scratch_size(self, model: Resolved, quant: str | None) -> int:
        return 0 if quant in DIRECT else weight_count(model) * (4 if quant == AUTO else 2)

    def write(self, work: Writing, target: Target, folder: Path, name: str) -> Written:
        from engine.export.verification import Written

        quant = str(target.quant)
        return Written(folder, write_gguf(work, quant, folder / name, target.importance), quant)

    def checks(self) -> Sequence[Step]:
        from engine.export import verification

        return verification.GGUF

    def commands(self, use: ExportUse) -> list[tuple[str, str]]:
        place = shell.quoted(use.path)
        return [
            ("llama.cpp", f"llama-cli -m {place} -cnv --jinja --temp 0"),
            ("llama.cpp server", f"llama-server -m {place} --jinja"),
            ("LM Studio", f"lms import --copy {place}"),
        ]


def write_gguf(work: Writing, quant: str, out: Path, weigh: bool = False) -> Path:
    """Write the merged model to the file `out`, by our own writer or by llama.cpp's converter. `weigh`: quantise with
    the run's importance matrix."""
    from engine.export import merged, official_converter
    from engine.gguf import model

    work.count(0, 0)
    base, adapter = work.mergeable()
    direct = quant if quant in DIRECT else "f16"
    whole = out if direct == quant else out.with_name(f".{out.name}.f16")
    if work.official:
        folder = out.with_name(".merged")
        folder.mkdir()
        merged.write_merged(base, adapter, work.tokenizer, folder, work.count)
        work.tell("write", "Running llama.cpp's converter", 0, 0)
        official_converter.convert(work.home, folder, whole, direct)
        shutil.rmtree(folder)
    else:
        model.write_gguf(base, adapter, whole, direct, work.about, work.count)
    if whole != out:
        matrix = work.importance() if weigh or quant in NEEDS_MATRIX else None
        work.tell("quantise", f"Quantising to {quant}", 0, 0)
        model.quantise(whole, out, quant, importance=matrix)
        whole.unlink()
    return out
