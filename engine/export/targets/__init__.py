"""What a run can be exported as: one file for each target, one line for each in `REGISTRY`. Light: planning, help and
listings read it; what writes and checks is imported when it is called.

Adding a target is a file with a subclass of `ExportTarget` and a line here; the command line, the Export screen, the
model card and the verification follow.
"""

from __future__ import annotations

from engine.export.targets.adapter import AdapterTarget
from engine.export.targets.base import ExportTarget
from engine.export.targets.gguf import DIRECT, QUANTS, GgufTarget
from engine.export.targets.gguf_adapter import GgufAdapterTarget
from engine.export.targets.merged import MergedTarget
from engine.export.targets.ollama import OllamaTarget
from store.errors import BadInput

REGISTRY: dict[str, ExportTarget] = {
    target.name: target
    for target in (
        GgufAdapterTarget(),
        GgufTarget(),
        OllamaTarget(),
        MergedTarget(),
        AdapterTarget(),
    )
}
"""By name, in the order in which they are offered; the first is the command line's default."""


def get(name: str) -> ExportTarget:
    """The target of this name; BadInput names those there are."""
    if name not in REGISTRY:
        raise BadInput(
            f"There is no export format {name!r}.", where="--to", todo=f"Choose one of {', '.join(REGISTRY)}."
        )
    return REGISTRY[name]


def all_quants() -> tuple[str, ...]:
    """Every quant that any target has, best first."""
    return tuple(dict.fromkeys(quant for target in REGISTRY.values() for quant in target.quants))


def quantised() -> tuple[str, ...]:
    """The names of the targets that have quants."""
    return tuple(name for name, target in REGISTRY.items() if target.quants)


def takes_matrix(quant: str | None) -> bool:
    """Whether an importance matrix changes what is made: for what llama.cpp quantises, not for what is rounded. `auto`
    tries both by itself."""
    return quant in QUANTS and quant not in DIRECT


def is_whole_gguf(name: str) -> bool:
    """Whether an export of this format has a GGUF file of the whole model, which Compare can open."""
    return name in REGISTRY and REGISTRY[name].whole_gguf
