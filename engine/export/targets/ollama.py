"""A GGUF file with the Modelfile that makes Ollama treat it as the run did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.export.public_names import public_base
from engine.export.request import Target
from engine.export.targets import shell
from engine.export.targets.base import ExportTarget, ExportUse, Writing
from engine.export.targets.gguf import GgufTarget, write_gguf

if TYPE_CHECKING:
    from engine.export.verification import Step, Written


class OllamaTarget(GgufTarget):
    """A folder rather than one file; quants and sizes are those of its GGUF file."""

    name = "ollama"
    help = "a GGUF file and the Modelfile that makes Ollama treat it as the run did"
    one_file = False

    def stem(self, quant: str | None) -> str:
        return ExportTarget.stem(self, quant)

    def write(self, work: Writing, target: Target, folder: Path, name: str) -> Written:
        from engine.export import ollama
        from engine.export.verification import Written

        file = f"{name}.gguf"
        out = write_gguf(work, str(target.quant), folder / file, target.importance)
        about = f"{work.run.name}, tuned from {public_base(work.run.base)}"
        text = ollama.modelfile(work.tokenizer, file, about=about, base=work.base)
        (folder / "Modelfile").write_text(text, "utf-8")
        return Written(folder, out, target.quant)

    def checks(self) -> Sequence[Step]:
        from engine.export import verification

        return verification.OLLAMA

    def commands(self, use: ExportUse) -> list[tuple[str, str]]:
        folder = "" if use.path == Path() else f"cd {shell.quoted(use.path)} && "
        return [("Ollama", f"{folder}ollama create {use.name} -f Modelfile && ollama run {use.name}")]
