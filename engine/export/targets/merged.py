"""The merged model as a Hugging Face folder, in the base's own number types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.export.request import Target
from engine.export.targets import shell
from engine.export.targets.base import ExportTarget, ExportUse, Writing, weight_count
from engine.models.refs import Resolved

if TYPE_CHECKING:
    from engine.export.verification import Step, Written


class MergedTarget(ExportTarget):
    """See the module."""

    name = "merged"
    help = "safetensors with tokenizer and template, for transformers and vLLM"
    library = "transformers"

    def size(self, model: Resolved, quant: str | None) -> int:
        return weight_count(model) * 2

    def write(self, work: Writing, target: Target, folder: Path, name: str) -> Written:
        from engine.export import merged
        from engine.export.verification import Written

        work.count(0, 0)
        merged.write_merged(*work.mergeable(), work.tokenizer, folder, work.count)
        return Written(folder)

    def checks(self) -> Sequence[Step]:
        from engine.export import verification

        return verification.MERGED_FOLDER

    def commands(self, use: ExportUse) -> list[tuple[str, str]]:
        return [
            ("vLLM", f"vllm serve {shell.quoted(use.path)} --served-model-name {use.name}"),
            ("transformers", shell.python_line(use.path, "from transformers import AutoModelForCausalLM as M")),
        ]
