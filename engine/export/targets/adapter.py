"""The PEFT folder of a run, its base called by a name that others know."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.export.public_names import public_base
from engine.export.request import Target
from engine.export.targets import shell
from engine.export.targets.base import ExportTarget, ExportUse, Writing, adapter_bytes
from engine.models.refs import Resolved

if TYPE_CHECKING:
    from engine.export.verification import Step, Written

_VLLM_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank takes; 16 is its default."""


class AdapterTarget(ExportTarget):
    """See the module."""

    name = "adapter"
    help = "the PEFT folder, for transformers + PEFT and vLLM"
    library = "peft"
    is_adapter = True

    def size(self, model: Resolved, quant: str | None) -> int:
        return adapter_bytes(model)

    def write(self, work: Writing, target: Target, folder: Path, name: str) -> Written:
        from engine.export.merged import write_adapter
        from engine.export.verification import Written

        work.count(0, 0)
        write_adapter(work.adapter, public_base(work.run.base), folder)
        return Written(folder)

    def checks(self) -> Sequence[Step]:
        from engine.export import verification

        return verification.ADAPTER_FOLDER

    def commands(self, use: ExportUse) -> list[tuple[str, str]]:
        wide = next((r for r in _VLLM_RANKS if isinstance(use.rank, int) and r >= use.rank), 16)
        most = f" --max-lora-rank {wide}" if wide > 16 else ""
        lora = shlex.quote(f"{use.name}={use.path}")
        return [
            ("vLLM", f"vllm serve {shlex.quote(use.base)} --enable-lora{most} --lora-modules {lora}"),
            ("transformers + PEFT", shell.python_line(use.path, "from peft import AutoPeftModelForCausalLM as M")),
        ]
