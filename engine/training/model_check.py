"""Whether a base model can be trained by a configuration, from its files' headers alone, before a run is queued.
What can be wrong with a model folder is said in `engine.models.inspection`."""

from __future__ import annotations

from pathlib import Path

from engine.models import gguf_source, inspection
from engine.models.refs import Resolved
from engine.training.config import TrainConfig
from engine.training.estimate import choose_method
from engine.training.methods import AUTO
from engine.training.model_facts import gguf_facts, model_facts


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
    method cannot train, targets that the model does not have.
    """
    if base.gguf is not None:
        inspection.check_gguf(base.gguf)
    folder = folder or base.folder
    if folder is None:
        return []
    found = inspection.inspect(folder, method=config.method, targets=config.targets).require()
    notes = [" ".join(filter(None, (issue.what, issue.todo))) for issue in found.issues]
    blocks = gguf_source.own_blocks(folder)
    return notes + ([gguf_source.no_second_quantisation(blocks)] if blocks and config.method == "qlora" else [])
