"""Loads a base model and puts a LoRA adapter on it: bf16, fp32 or NF4 (QLoRA), on the CPU or CUDA.
Sets up the process for speed (threads, memory allocator). Knows nothing of data or steps."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.training.config import TrainConfig
from store.errors import BadInput, Unsupported

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEEP_BYTES = 1 << 30
_ACTIVATION_BYTES = 60  # of one token and layer, times the hidden size, in 16 bits: measured with LoRA on all layers
_RESIDENT_SHARE = 0.25
"""Dequantised copies of NF4 weights may take this share of the free memory."""


@dataclass(frozen=True)
class Loaded:
    """A base model with a trainable adapter named "default". `notes` are sentences for the run's log."""

    model: Any
    device: str
    dtype: torch.dtype
    notes: tuple[str, ...]


def quiet() -> None:
    """Keep libraries' progress bars and advertisements out of the log; their errors stay."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|trl|bitsandbytes)\b.*")


def set_up_process(threads: int | None) -> int:
    """Set torch's threads and keep freed memory in the process; returns the number of threads.

    A training step allocates and frees the same large blocks hundreds of times. glibc gives each back to the system,
    which then has to clear it again: a quarter of a step on a small model.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # one is enough
    if threads:
        torch.set_num_threads(threads)
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in ((_M_MMAP_THRESHOLD, _KEEP_BYTES), (_M_TRIM_THRESHOLD, _KEEP_BYTES), (_M_ARENA_MAX, 1)):
            libc.mallopt(option, value)
    return torch.get_num_threads()


def device() -> str:
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


def load(config: TrainConfig, folder: Path, where: str) -> Loaded:
    """Load `folder` for training by `config`. BadInput or Unsupported naming what cannot be loaded or adapted."""
    dtype = compute_dtype(config.dtype, where)
    check_folder(folder)
    model = _base(folder, config.method, dtype, where)
    notes: list[str] = []
    if config.method == "qlora" and where == "cpu":
        notes.append(keep_dequantised(model, dtype))
    return Loaded(adapt(model, config, dtype), where, dtype, tuple(note for note in notes if note))


def check_folder(folder: Path) -> None:
    """BadInput or Unsupported unless the folder has a configuration and safetensors. Pickled weights are not read."""
    if not (folder / "config.json").is_file():
        raise BadInput(
            "The base model has no config.json.", where=str(folder), todo="Name a Hugging Face model folder."
        )
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        what = (
            "The base model's weights are pickled, which can run foreign code."
            if pickled
            else "The base model has no weights."
        )
        raise Unsupported(what, where=str(folder), todo="Use a folder with .safetensors files.")


def _base(folder: Path, method: str, dtype: torch.dtype, where: str) -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantised = None
    if method == "qlora":
        quantised = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=torch.uint8,
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            quantization_config=quantised,
            device_map={"": where if where == "cpu" else 0},
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        )
    except (ValueError, KeyError, OSError, ImportError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's or the system's trouble, not the model's
        what = f"The base model cannot be loaded: {str(error).splitlines()[0]}"
        raise Unsupported(what, where=str(folder), todo="See the log for the whole reason.") from error
    model.config.use_cache = False
    return model


def adapt(model: Any, config: TrainConfig, dtype: torch.dtype) -> Any:
    """Put a fresh adapter on the model, its weights in `dtype`; everything else is frozen. Seeded by the caller."""
    from peft import LoraConfig, get_peft_model

    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    model.config._name_or_path = config.model  # what adapter_config.json will name as its base
    model.name_or_path = config.model
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        use_rslora=config.rslora,
        use_dora=config.dora,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        adapted = get_peft_model(model, lora, autocast_adapter_dtype=False)
    except ValueError as error:
        raise BadInput(
            f"The adapter does not fit this model: {error}", where="targets", todo="Use targets all-linear."
        ) from error
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    return adapted


# --- NF4 on the CPU ---------------------------------------------------------------------------------------------------


def keep_dequantised(model: Any, dtype: torch.dtype) -> str:
    """Keep a dequantised copy of each NF4 weight when memory is ample; returns what was done, for the log.

    The weights are frozen, so dequantising them twice in every step gives the same numbers each time: an eighth of a
    step. Products are bit for bit those of bitsandbytes; the adapter learns against the quantised weights all the same.
    """
    import bitsandbytes as bnb
    import psutil
    from bitsandbytes.functional import dequantize_4bit

    layers = [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]
    for layer in layers:
        # In eval mode bitsandbytes repacks the weights for a kernel without gradients: training on would learn nothing.
        layer.support_avx512bf16_for_cpu = False
    needed = sum(layer.in_features * layer.out_features for layer in layers) * dtype.itemsize
    if needed > psutil.virtual_memory().available * _RESIDENT_SHARE:
        return "Memory is short: the NF4 weights are dequantised in every step."
    for layer in layers:
        plain = dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)
        layer.forward = _Plain(plain, layer.bias)
    return f"NF4 weights dequantised once for speed ({needed / 1e6:.0f} MB)."


class _Plain:
    """A linear layer's product with a weight that stays outside the module's parameters."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        bias = self.bias.to(x.dtype) if self.bias is not None else None
        return torch.nn.functional.linear(x.to(self.weight.dtype), self.weight, bias).to(x.dtype)


def needs_checkpointing(loaded: Loaded, pack_tokens: int, max_length: int) -> bool:
    """Whether activations of one pass would take more than half of the free memory, and are better computed twice."""
    import psutil

    text = loaded.model.config.get_text_config()
    bytes_a_token = text.num_hidden_layers * text.hidden_size * _ACTIVATION_BYTES * loaded.dtype.itemsize / 2
    free = torch.cuda.mem_get_info()[0] if loaded.device == "cuda" else psutil.virtual_memory().available
    return bool(bytes_a_token * max(pack_tokens, max_length) > free / 2)


def environment() -> dict[str, Any]:
    """The machine and the libraries, as a run keeps them."""
    from importlib.metadata import version

    facts: dict[str, Any] = {name: version(name) for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")}
    facts |= {"python": platform.python_version(), "threads": torch.get_num_threads(), "cores": os.cpu_count()}
    if torch.cuda.is_available():
        facts |= {"gpu": torch.cuda.get_device_name(0), "cuda": torch.version.cuda}
    return facts
