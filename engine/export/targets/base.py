"""What every export target answers: what it is called, how large it becomes, how it is written, checked and used.
Nothing here knows a target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from engine.export.request import Target
from engine.models.refs import Resolved
from store.errors import BadInput
from store.home import Home
from store.records import Run, SnapshotRow

if TYPE_CHECKING:
    import numpy as np

    from engine.export.verification import Step, Written
    from engine.gguf.metadata import FileMetadata


@dataclass(frozen=True, slots=True)
class ExportUse:
    """What the commands to use an export name. `path` is its file or folder, empty for "this folder"; `base_gguf` the
    base's GGUF file, `base` what the base is called where models are fetched by name; `rank` the adapter's, if
    known."""

    path: Path
    name: str
    base: str
    base_gguf: Path
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Writing:
    """What a target is written from. `base` and `adapter` are folders, `scratch` one for temporary files that all
    targets of a request share, `rows` the run's data. `tell(stage, text, done, total)` reports progress (0 of 0
    where it is not counted) and may raise to cancel."""

    home: Home
    run: Run
    model: Resolved
    base: Path
    adapter: Path
    about: FileMetadata
    official: bool
    scratch: Path
    rows: Sequence[SnapshotRow]
    tell: Callable[[str, str, int, int], None]

    @property
    def tokenizer(self) -> Path:
        """The folder whose tokenizer and chat template travel: the run's."""
        return self.model.tokenizer or self.base

    def count(self, done: int, total: int) -> None:
        """Progress of writing tensors."""
        self.tell("write", "Writing tensors", done, total)

    def importance(self) -> Mapping[str, np.ndarray]:
        """The run's importance matrix, measured once for all targets of a request: see engine.export.importance."""
        from engine.export import importance

        base, adapter = self.mergeable()
        return importance.matrix(base, adapter, self.tokenizer, self.rows, self.scratch, self._measured)

    def _measured(self, done: int, total: int) -> None:
        self.tell("measure", "Measuring what the data activates", done, total)

    def mergeable(self) -> tuple[Path, Path | None]:
        """The base folder and the adapter to merge; or, for an adapter that is more than low-rank factors (DoRA, saved
        modules), a folder that PEFT merged, and None. That folder is made once for all targets of a request."""
        from engine.export.merged import copy_tokenizer
        from engine.export.torch_process import merge_with_peft
        from engine.gguf.tensors import is_plain

        if is_plain(self.adapter):
            return self.base, self.adapter
        out = self.scratch / "merged"
        if not out.exists():
            self.tell("write", "Merging with PEFT", 0, 0)
            merge_with_peft(self.base, self.adapter, out)
            copy_tokenizer(self.base, self.tokenizer, out)
        return out, None


class ExportTarget(ABC):
    """One thing that a run can be exported as. The attributes describe it; the methods make, check and use it."""

    name: ClassVar[str]
    """What `--to` takes, and the format of the export in the store."""
    help: ClassVar[str]
    """One line: what it is and who reads it."""
    quants: ClassVar[tuple[str, ...]] = ()
    """The number types it can have, best first; empty for one without a choice."""
    default_quant: ClassVar[str | None] = None
    library: ClassVar[str] = "gguf"
    """`library_name` of the model card."""
    tags: ClassVar[tuple[str, ...]] = ()
    """Further tags of the model card."""
    is_adapter: ClassVar[bool] = False
    """Whether it needs the base model to be used."""
    whole_gguf: ClassVar[bool] = False
    """Whether it has a GGUF file of the whole model, which Compare can open."""
    one_file: ClassVar[bool] = False
    """Whether it is one GGUF file, which may be given a path of its own with --out."""

    def check_quant(self, quant: str | None) -> None:
        """Raise BadInput for a quant that this target does not have, or for none where it needs one."""
        if self.quants and quant not in self.quants:
            what = f"There is no quant {quant!r}." if quant else f"{self.name} needs a quant."
            raise BadInput(what, where="--quant", todo=f"Choose one of {', '.join(self.quants)}.")
        if quant and not self.quants:
            raise BadInput(f"{self.name} has no quants.", where="--quant", todo="Leave --quant out.")

    def stem(self, quant: str | None) -> str:
        """The end of its file or folder name: `merged`, `ollama-q8_0` …"""
        return "-".join(part for part in (self.name, quant) if part)

    @abstractmethod
    def size(self, model: Resolved, quant: str | None) -> int:
        """About how many bytes it will have."""

    def scratch_size(self, model: Resolved, quant: str | None) -> int:
        """Bytes that are needed besides while it is written."""
        return 0

    @abstractmethod
    def write(self, work: Writing, target: Target, folder: Path, name: str) -> Written:
        """Write it as `target` says into the empty `folder`; `name` is the name of its file, or of its folder once it
        is in place."""

    @abstractmethod
    def checks(self) -> Sequence[Step]:
        """The steps of its verification, in order."""

    @abstractmethod
    def commands(self, use: ExportUse) -> list[tuple[str, str]]:
        """(program, command line) to use a finished one with."""


def adapter_bytes(model: Resolved) -> int:
    """The size of a run's adapter file."""
    return sum(f.stat().st_size for f in model.adapter.glob("*.safetensors")) if model.adapter else 0


def weight_count(model: Resolved) -> int:
    """How many weights the base has, by the size of its files: two bytes each in the prepared folder."""
    if model.folder is not None:
        return sum(f.stat().st_size for f in model.folder.glob("*.safetensors")) // 2
    return int(model.gguf.stat().st_size / 0.65) if model.gguf else 0
