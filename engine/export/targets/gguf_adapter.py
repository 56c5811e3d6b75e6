"""The LoRA alone as a GGUF file, for those who have the base model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.export.request import Target
from engine.export.targets import shell
from engine.export.targets.base import ExportTarget, ExportUse, Writing, adapter_bytes
from engine.models.refs import Resolved

if TYPE_CHECKING:
    from engine.export.verification import Step, Written


class GgufAdapterTarget(ExportTarget):
    """See the module."""

    name = "gguf-adapter"
    help = "LoRA as GGUF, for llama.cpp users who have the base model; smallest"
    tags = ("gguf",)
    is_adapter = True
    one_file = True

    def size(self, model: Resolved, quant: str | None) -> int:
        return adapter_bytes(model) * 2

    def write(self, work: Writing, target: Target, folder: Path, name: str) -> Written:
        from engine.export.verification import Written
        from engine.gguf import adapter

        work.count(0, 0)
        return Written(folder, adapter.convert(work.adapter, work.base, folder / name, work.about))

    def checks(self) -> Sequence[Step]:
        from engine.export import verification

        return verification.GGUF_ADAPTER

    def commands(self, use: ExportUse) -> list[tuple[str, str]]:
        place, base = shell.quoted(use.path), shell.quoted(use.base_gguf)
        return [
            ("llama.cpp", f"llama-cli -m {base} --lora {place} -cnv --jinja --temp 0"),
            ("llama.cpp server", f"llama-server -m {base} --lora {place} --jinja"),
        ]
