"""The files of an adapter: the same bytes for the same weights, read back exactly, with what is needed to use it.
For every objective; when to write them is the trainer's decision."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.models.chat_template import FILES, ChatTemplate
from engine.training.objectives import OBJECTIVES
from engine.training.preflight import template_of
from engine.training.worker import checkpoints, sharding
from engine.training.worker.contracts import TrainingJob
from engine.training.worker.loading import HEAD
from store.errors import TuningforkError

STATE = "training_state.safetensors"
"""What a method needs to train on and an adapter need not hold: the network behind virtual tokens, what AdaLoRA has
learned of its ranks."""


def write(model: Any, folder: Path, weights: dict[str, torch.Tensor] | None = None) -> None:
    """PEFT's two files of the trained adapter, and STATE where its method has one. PEFT's readme, an empty form, is
    left out. A sharded model's whole `weights` are given (sharding.trained_weights)."""
    given = {} if weights is None else {"state_dict": weights}
    with _untrimmed(model):
        model.save_pretrained(folder, save_embedding_layers=False, selected_adapters=["default"], **given)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    for name in ("target_modules", "modules_to_save"):
        if isinstance(config.get(name), list):
            config[name].sort()  # PEFT keeps sets
    path.write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")
    if state := _state(model):
        save_file(state, folder / STATE)


def read(model: Any, folder: Path) -> None:
    """The weights as they were written; PEFT's own loader would change their dtype."""
    options = model.peft_config["default"]
    if sharding.is_sharded(model):
        with safe_open(folder / "adapter_model.safetensors", "pt") as file:
            sharding.put(get_peft_model_state_dict(model, save_embedding_layers=False), file.get_tensor)
    elif not options.is_prompt_learning:  # of virtual tokens the adapter holds what their network wrote
        with _untrimmed(model):
            set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
    if (folder / STATE).is_file():
        _restore(model, load_file(folder / STATE))


def _state(model: Any) -> dict[str, torch.Tensor]:
    """The tensors of STATE, by name; none for most methods."""
    if model.peft_config["default"].is_prompt_learning:
        return {name: tensor.detach().contiguous() for name, tensor in model.prompt_encoder.state_dict().items()}
    allocator = getattr(model.base_model, "rankallocator", None)
    if allocator is None:
        return {}
    state = {f"{kind}/{name}": t for kind in _RANKS for name, t in getattr(allocator, kind).items()}
    pattern = model.peft_config["default"].rank_pattern or {}
    return state | {f"rank_pattern/{name}": torch.tensor(kept) for name, kept in pattern.items()}


def _restore(model: Any, state: dict[str, torch.Tensor]) -> None:
    if model.peft_config["default"].is_prompt_learning:
        model.prompt_encoder.load_state_dict(state)
        return
    found: dict[str, dict[str, torch.Tensor]] = {}
    for full, tensor in state.items():
        kind, _, name = full.partition("/")
        found.setdefault(kind, {})[name] = tensor
    for kind in _RANKS:
        kept = {name: tensor.to(model.device) for name, tensor in found.get(kind, {}).items()}
        setattr(model.base_model.rankallocator, kind, kept)
    pattern = {name: tensor.tolist() for name, tensor in found.get("rank_pattern", {}).items()}
    model.peft_config["default"].rank_pattern = pattern or None


_RANKS = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""PEFT's names for how important AdaLoRA's weights are."""


@contextlib.contextmanager
def _untrimmed(model: Any) -> Iterator[None]:
    """AdaLoRA's factors in their first size while inside: ranks that were taken have an E of zero. PEFT would cut them
    off, from the model in training, too."""
    options = model.peft_config["default"]
    pattern = getattr(options, "rank_pattern", None)
    if getattr(model.base_model, "rankallocator", None) is None:
        yield
        return
    options.rank_pattern = None
    try:
        yield
    finally:
        options.rank_pattern = pattern


def begin_from(model: Any, folder: Path) -> None:
    """The weights of an earlier adapter, as `read` reads them; a reward model's head stays new where that has none."""
    saved = load_file(folder / "adapter_model.safetensors")
    new = get_peft_model_state_dict(model, save_embedding_layers=False)
    heads = {name: value for name, value in new.items() if f".{HEAD}." in name}
    set_peft_model_state_dict(model, {**heads, **saved})


def seal(
    folder: Path, job: TrainingJob, step: int, total: int, val_loss: float | None = None, *, converted: bool = True
) -> checkpoints.Files:
    """Add the adapter in llama.cpp's format, so that chat starts at once (unless not `converted`), and the manifest.

    Where the run has another chat template than its base, that goes with it, too: chat must render as training did.
    """
    if converted and OBJECTIVES[job.config.objective].answers:
        _convert(folder, job)
    if job.config.template or job.config.system != "refuse":
        add_template(folder, job, template_of(job.base_folder, job.config))
    return checkpoints.seal(folder, checkpoints.facts(job.config, job.rows, step, total, val_loss))


def add_template(folder: Path, job: TrainingJob, template: ChatTemplate) -> None:
    """The base's tokenizer files and the run's chat template."""
    for name in FILES:
        if (job.base_folder / name).is_file():
            shutil.copyfile(job.base_folder / name, folder / name)
    (folder / "chat_template.jinja").write_text(template.source, "utf-8")


def finish(model: Any, job: TrainingJob, template: ChatTemplate, step: int, total: int) -> Path:
    """Write the finished adapter, with everything needed to use it, to out/adapter; returns that folder. All processes
    of a run on a sharded model take part, and the first writes."""
    part, final = job.out / "adapter.part", job.out / "adapter"
    weights = sharding.trained_weights(model, job.ranks.first)
    if not job.ranks.first:
        return final
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    write(model, part, weights)
    add_template(part, job, template)
    seal(part, job, step, total)
    checkpoints.place(part, final)
    return final


def _convert(folder: Path, job: TrainingJob) -> None:
    """adapter.gguf beside the adapter. What cannot be converted can still be chatted with through transformers."""
    from engine.gguf.adapter import convert

    try:
        convert(folder, job.base_folder, folder / "adapter.gguf")
    except (TuningforkError, ValueError, KeyError) as error:
        what = error.what if isinstance(error, TuningforkError) else str(error)
        job.reporter.say(f"The adapter was not converted for llama.cpp: {what}", level="warning")
