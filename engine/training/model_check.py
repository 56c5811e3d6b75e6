"""Whether a base model can be trained by a configuration, from its files' headers alone, before a run is queued.
What can be wrong with a model folder is said in `engine.models.inspection`."""

from __future__ import annotations

from pathlib import Path

from engine.models import gguf_source, inspection
from engine.models.refs import Resolved
from engine.training.config import TrainConfig
from engine.training.estimate import choose_method, machine
from engine.training.launchers import LAUNCHERS
from engine.training.methods import AUTO, meant_by
from engine.training.model_facts import gguf_facts, model_facts
from store.errors import BadInput, Unsupported


def with_method(config: TrainConfig, base: Resolved) -> tuple[TrainConfig, str]:
    """The configuration with the method that AUTO stands for on `base` and this machine, and a sentence that says why;
    a configuration that names its method stays, and the sentence is ''."""
    if config.method != AUTO:
        return config, ""
    folder = base.folder
    if folder is not None and inspection.inspect(folder).quantised:
        return config.replace(method="qlora"), "Method qlora: the checkpoint is stored in 4 bits already."
    if base.gguf is not None:
        facts = gguf_facts(base.gguf)
    elif folder is not None:
        facts = model_facts(folder)
    else:
        return config, ""
    choice = choose_method(config, facts)
    return config.replace(method=choice.method), choice.why


def check_model(base: Resolved, config: TrainConfig, folder: Path | None = None) -> list[str]:
    """Sentences worth knowing about training `base`; `folder` is its prepared folder, where it is known already.

    Raises Unsupported or BadInput naming what is wrong: a damaged or incomplete file, a quantised checkpoint that the
    method cannot train, targets and whole modules that the model does not have, an optimizer that this machine lacks.
    """
    here = machine()
    limits = LAUNCHERS[config.launcher].limits(config, cores=here.cores, cards=len(here.gpus))
    if config.optimizer == "paged_adamw_8bit" and not here.gpus:
        raise Unsupported(
            "The optimizer paged_adamw_8bit needs a CUDA GPU, and this machine has none.",
            where="optimizer",
            todo="Take adamw.",
        )
    if base.gguf is not None:
        inspection.check_gguf(base.gguf)
    folder = folder or base.folder
    if folder is None:
        return limits
    found = inspection.inspect(folder, method=config.method, targets=config.targets).require()
    notes = limits + [" ".join(filter(None, (issue.what, issue.todo))) for issue in found.issues]
    _require_modules(config, found)
    notes += [sentence for method in meant_by(config.method) for sentence in method.limits(config)]
    blocks = gguf_source.own_blocks(folder)
    return notes + ([gguf_source.no_second_quantisation(blocks)] if blocks and config.method == "qlora" else [])


def _require_modules(config: TrainConfig, found: inspection.Inspection) -> None:
    """BadInput for whole modules that the model does not have."""
    owners = {name.rpartition(".")[0] for name in found.tensors}
    for wanted in config.modules_to_save or ():
        if not any(owner == wanted or owner.endswith(f".{wanted}") for owner in owners):
            short = ", ".join(sorted({owner.rpartition(".")[2] for owner in owners}))
            raise BadInput(
                f"No module of this model that owns weights is called {wanted}.",
                where="modules_to_save",
                todo=f"It has: {short}.",
            )
