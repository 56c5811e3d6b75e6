"""The files of an adapter: the same bytes for the same weights, read back exactly, with what is needed to use it.
For every objective; when to write them is the trainer's decision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from engine.models.chat_template import FILES, ChatTemplate
from engine.training.objectives import OBJECTIVES
from engine.training.preflight import template_of
from engine.training.worker import checkpoints
from engine.training.worker.contracts import TrainingJob
from engine.training.worker.loading import HEAD
from store.errors import TuningforkError


def write(model: Any, folder: Path) -> None:
    """PEFT's two files of the trained adapter. Its readme, an empty form, is left out."""
    model.save_pretrained(folder, save_embedding_layers=False, selected_adapters=["default"])
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # PEFT keeps a set
    path.write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")


def read(model: Any, folder: Path) -> None:
    """The weights as they were written; PEFT's own loader would change their dtype."""
    set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))


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
    """Write the finished adapter, with everything needed to use it, to out/adapter; returns that folder."""
    part, final = job.out / "adapter.part", job.out / "adapter"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    write(model, part)
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
