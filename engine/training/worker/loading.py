"""Loads a base model and puts an adapter on it, as its method says, on the CPU or CUDA.
Sets up the process for speed (threads, memory allocator). Knows nothing of data or steps."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.models import gguf_source, inspection
from engine.training.activations import PACK_TOKENS, Device, activation_bytes
from engine.training.config import TrainConfig
from engine.training.objectives import OBJECTIVES
from engine.training.worker import memory
from engine.training.worker.methods import ADAPTERS
from store.errors import BadInput, Unsupported


@dataclass(frozen=True)
class Loaded:
    """A base model with a trainable adapter named "default". `notes` are sentences for the run's log."""

    model: Any
    device: Device
    dtype: torch.dtype
    notes: tuple[str, ...]


def quiet() -> None:
    """Keep libraries' progress bars and advertisements out of the log; their errors stay."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for library in ("bitsandbytes", "trl"):  # TRL would write answers that earn nothing into the log
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|trl|bitsandbytes)\b.*")


def set_up_process(threads: int | None, card: int = 0, *, give_back: bool = False) -> int:
    """Set torch's threads, take one of the cards and keep freed memory in the process; returns the number of threads.
    `card` counts those that the user lets us see.

    A training step allocates and frees the same large blocks hundreds of times. glibc gives each back to the system,
    which then has to clear it again: a quarter of a step on a small model. With `give_back` it does: the layers of a
    sharded model, gathered one after the other, would leave more holes between blocks than sharding saves.
    """
    seen = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", str(card)).split(",") if each]
    os.environ["CUDA_VISIBLE_DEVICES"] = seen[min(card, len(seen) - 1)] if seen else ""  # one is enough
    if threads:
        torch.set_num_threads(threads)
    memory.keep_freed(memory.GIVE_BACK_BYTES if give_back else memory.KEEP_BYTES)
    return torch.get_num_threads()


def device() -> Device:
    """ "cuda" when there is a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype(wish: str, where: str) -> torch.dtype:
    """What to compute in: as asked, and for "auto" bf16 where the hardware has it, fp32 where it would be emulated."""
    if wish != "auto":
        return torch.bfloat16 if wish == "bf16" else torch.float32
    if where == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def load(config: TrainConfig, folder: Path, where: Device) -> Loaded:
    """Load `folder` for training by `config`. BadInput or Unsupported naming what cannot be loaded or adapted."""
    dtype = compute_dtype(config.dtype, where)
    found = inspection.inspect(folder, method=config.method, targets=config.targets).require()
    method = ADAPTERS[config.method]
    quantised, notes = method.quantisation(dtype), []
    if quantised is not None and (blocks := gguf_source.own_blocks(folder)):
        quantised = None  # a second quantisation would make another model than the file, which chat and exports use
        notes.append(gguf_source.no_second_quantisation(blocks))
    elif found.quantised:
        quantised = None  # a 4-bit checkpoint brings its own blocks
    scores = not OBJECTIVES[config.objective].answers
    model = _base(folder, quantised, dtype, where, scores)
    notes.append(method.prepare(model, dtype, where))
    return Loaded(adapt(model, config, dtype), where, dtype, tuple(filter(None, notes)))


def _base(folder: Path, quantised: Any, dtype: torch.dtype, where: str, scores: bool) -> Any:
    try:
        # An explicit None would make transformers forget the quantisation that a checkpoint has already.
        packed = {"quantization_config": quantised} if quantised is not None else {}
        place = {"": where if where == "cpu" else 0}
        model = load_whole(folder, scores=scores, dtype=dtype, device_map=place, **packed)
    except (ValueError, KeyError, OSError, ImportError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk or the system failed, not the model
        what = f"The base model cannot be loaded: {str(error).splitlines()[0]}"
        raise Unsupported(what, where=str(folder), todo="See the log for the full reason.") from error
    model.config.use_cache = False
    return model


HEAD = "score"
"""The layer of a reward model that gives the number, as transformers names it in models that classify sequences."""


def load_whole(folder: Path, *, scores: bool = False, **options: Any) -> Any:
    """A causal language model whose every weight comes from the folder's files; `options` go to transformers. With
    `scores`, the same weights with a new head for one number in the place of the one for tokens.

    Raises Unsupported where a tensor is missing, mismatched or left over (transformers would fill it at random and only
    log it), and ignores an adapter that lies in the folder.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if scores:
        options |= {"num_labels": 1}
    with inspection.whole_model(folder) as view:
        model, info = (AutoModelForSequenceClassification if scores else AutoModelForCausalLM).from_pretrained(
            view,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            # Reported with the rest, by name; packed weights have other shapes in the files than in the model.
            ignore_mismatched_sizes=not (options.get("quantization_config") or inspection.is_quantised(folder)),
            **options,
        )
    if scores:
        info = _but_for_heads(info)
        give_head(model, folder)
    inspection.require_complete(info, folder)
    return model


def _but_for_heads(info: Any) -> dict[str, list[Any]]:
    """What loading found missing or left over, without the head for tokens and the new one."""
    return {
        kind: [name for name in found or () if str(name) not in (f"{HEAD}.weight", "lm_head.weight")]
        for kind, found in dict(info).items()
        if kind.endswith("_keys")
    }


def give_head(model: Any, folder: Path) -> None:
    """Keep the head for one number in float32, whatever the model computes in: bf16 has three digits, and two answers
    would often score alike. Unsupported where the model has no such head."""
    head = getattr(model, HEAD, None)
    if not isinstance(head, torch.nn.Linear):
        raise Unsupported(
            "A reward model cannot be made of this architecture: transformers gives it no head for one number.",
            where=str(folder),
            todo="Choose another base, such as a Llama, Qwen, Mistral or Gemma model.",
        )
    torch.nn.init.normal_(head.weight.data, std=0.02)
    head.float()
    head.register_forward_pre_hook(_in_float32)


def _in_float32(head: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(each.float() for each in inputs)


def adapt(model: Any, config: TrainConfig, dtype: torch.dtype) -> Any:
    """Put a fresh adapter on the model; everything else is frozen. Seeded by the caller.

    BadInput when the adapter does not fit the model.
    """
    from peft import get_peft_model

    model.config._name_or_path = config.model  # what adapter_config.json will name as its base
    model.name_or_path = config.model
    method = ADAPTERS[config.method]
    try:
        shape = method.peft(config, model)
        if not OBJECTIVES[config.objective].answers:
            shape.task_type = "SEQ_CLS"  # PEFT then trains and saves the head, too
        adapted = get_peft_model(model, shape, autocast_adapter_dtype=False)
    except ValueError as error:
        todo = "Use targets all-linear, or another method."
        raise BadInput(f"The adapter does not fit this model: {error}", where="targets", todo=todo) from error
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            kept = torch.float32 if f".{HEAD}." in name else method.adapter_dtype(name, dtype)
            parameter.data = parameter.data.to(kept)
    method.finish(adapted)
    return adapted


def needs_checkpointing(loaded: Loaded, config: TrainConfig, tokens: int) -> bool:
    """Whether activations of one pass of a pack, or of `tokens`, would take more than half of the free memory, and are
    better computed twice: where the method allows it."""
    import psutil

    if not ADAPTERS[config.method].checkpointing:
        return False

    text = loaded.model.config.get_text_config()
    per_token = activation_bytes(text.num_hidden_layers, text.hidden_size, loaded.dtype.itemsize)
    free = torch.cuda.mem_get_info()[0] if loaded.device == "cuda" else psutil.virtual_memory().available
    return bool(per_token * max(PACK_TOKENS[loaded.device], tokens) > free / 2)


def environment() -> dict[str, Any]:
    """The machine and the libraries, as a run keeps them."""
    from importlib.metadata import version

    facts: dict[str, Any] = {name: version(name) for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")}
    facts |= {"python": platform.python_version(), "threads": torch.get_num_threads(), "cores": os.cpu_count()}
    if torch.cuda.is_available():
        facts |= {"gpu": torch.cuda.get_device_name(0), "cuda": torch.version.cuda}
    return facts
