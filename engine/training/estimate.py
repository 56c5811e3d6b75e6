"""How much time and memory a run will take, before anything is loaded. Reads the machine; no torch."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core import sample_files
from engine.training import watched_probes
from engine.training.activations import PACK_TOKENS, Device, activation_bytes
from engine.training.config import FIELDS, TrainConfig
from engine.training.methods import AUTO, METHODS, meant_by
from engine.training.methods.base import compute_bytes
from engine.training.model_facts import ModelFacts
from engine.training.objectives import OBJECTIVES, why_unused
from store.errors import BadInput

if TYPE_CHECKING:
    from engine.training.preflight import Preflight

_BASE_BYTES = 950e6  # the process with torch and its family, before a model is loaded
_START_S = 10.0  # importing, loading and quantising a small model, saving
_CPU_FLOPS_PER_CORE = 1.1e11  # bf16 products with small batches, measured where AVX-512 bf16 exists
_PLAIN_CPU_FLOPS_PER_CORE = 3.5e10
_GPU_FLOPS = 6e13
MEASUREMENTS = 5
"""How often a run is measured where the configuration does not say."""
TRIAL_STEPS = 30
"""Steps of a rate trial: ten at each of three rates."""
_ANSWERED, _WRITTEN, _OWN_PROMPT = 24, 32, 16  # tokens of an answer to a probe, to a rehearsed question, of a question
_WRITING_SHARE = 0.3  # of the speed of training: writing answers multiplies with few rows at a time
_SET_PROBES, _DRIFT_ROWS = 24, 40  # probes of a set of the user's, and rows on which drift is measured
_FITS_SHARE = 0.9
"""A run that would take more than this share of the memory does not count as one that fits."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics card: its name, and its free and total memory in bytes."""

    name: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine a run would use. `fast_bf16` says whether the CPU multiplies bf16 in hardware."""

    cores: int
    memory_bytes: int
    gpus: list[Gpu]
    fast_bf16: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """`seconds` from the start to the saved adapter, `memory_bytes` at the peak; `note` is a caveat or ''. `why` says
    why the method was chosen, '' when it was given."""

    seconds: float
    memory_bytes: int
    steps: int
    note: str
    why: str = ""
    start_s: float = 0.0
    """Of `seconds`, those until the model is ready to train."""
    measuring_s: float = 0.0
    """Of `seconds`, those of the measurements between steps."""


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """The method that AUTO stands for on a model and a machine, and why, in a sentence."""

    method: str
    why: str


def total_steps(config: TrainConfig, rows: int) -> int:
    """Optimizer steps of a run over `rows` training rows, and what is rehearsed with them."""
    if config.steps is not None:
        return config.steps
    every = rows + config.rehearsed(rows)
    return max(1, math.ceil(config.epochs * math.ceil(every / config.step_rows)))


def machine() -> Machine:
    """This machine, without torch: cores that this process may use, memory, and the NVIDIA cards that
    nvidia-smi lists."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cores, int(psutil.virtual_memory().total), _gpus(), _fast_bf16())


def choose_method(config: TrainConfig, facts: ModelFacts, here: Machine | None = None) -> MethodChoice:
    """16-bit LoRA where it fits in the memory of `here` (by default this machine), QLoRA where it does not."""
    here = here or machine()
    config = _computed(config, here)
    if facts.own_blocks:
        why = f"the GGUF file is quantised already ({facts.own_blocks}), and 4-bit training would use the same weights"
        return MethodChoice("lora", f"Method lora: {why}.")
    device, available, place = _place(here)
    tokens = max(PACK_TOKENS[device], config.max_length)
    needed = (
        _BASE_BYTES
        + _share(config, METHODS["lora"].memory(config, facts, device, available))
        + tokens * activation_bytes(facts.layers, facts.hidden, compute_bytes(config))
    ) * _copies(config, device)
    sizes = f"about {needed / 1e9:.1f} GB of the {available / 1e9:.1f} GB of {place}"
    bits = 8 * compute_bytes(config)
    if needed <= available * _FITS_SHARE:
        return MethodChoice("lora", f"Method lora: in {bits} bits the run takes {sizes}.")
    return MethodChoice("qlora", f"Method qlora: in {bits} bits the run would take {sizes}, which is too much.")


def _computed(config: TrainConfig, here: Machine) -> TrainConfig:
    """The configuration with the number format that `auto` stands for on a machine."""
    emulated = config.dtype == "auto" and not here.gpus and not here.fast_bf16
    return config.replace(dtype="fp32") if emulated else config


def estimate(config: TrainConfig, preflight: Preflight, facts: ModelFacts, machine: Machine) -> Estimate:
    """Time and memory of a run with its measurements, rehearsal and rate trial, within a factor of two or so:
    engine.training.calibration corrects it by earlier runs, and after some steps the run itself knows better."""
    if config.method == AUTO:
        choice = choose_method(config, facts, machine)
        return replace(estimate(config.replace(method=choice.method), preflight, facts, machine), why=choice.why)
    config = _computed(config, machine)
    device, available, place = _place(machine)
    steps = total_steps(config, preflight.rows)
    share = steps * config.step_rows / max(1, preflight.rows)  # how often each row is seen
    tokens = max(0, preflight.tokens - _shared(config, preflight)) * share
    flops = 4 * facts.linear_weights * tokens + 4 * facts.hidden * facts.vocabulary * preflight.trained_tokens * share
    flops *= OBJECTIVES[config.objective].passes
    start = _START_S + facts.weights / 1.5e8
    speed = _speed(config, machine)
    measuring = _measuring(config, facts, steps) / _WRITING_SHARE / speed
    asking = _preparing(config, facts, preflight.rows) / _WRITING_SHARE / speed
    trial = flops * TRIAL_STEPS / steps / speed if config.lr_trial else 0.0
    seconds = start + flops / speed + measuring + asking + trial
    memory = int(_needed(config, preflight, facts, device, available))
    note = ""
    if memory > available:
        smaller = _fitting(config, preflight, facts, device, available) or _smaller(config, facts, device, available)
        note = f"{place[:1].upper()}{place[1:]} has only {available / 1e9:.1f} GB. {smaller}"
    elif preflight.val_rows:
        note = "Validation takes a little more time."
    return Estimate(seconds, memory, steps, note, start_s=start, measuring_s=measuring)


def _measuring(config: TrainConfig, facts: ModelFacts, steps: int) -> float:
    """Operations of all measurements during a run: answers to its probes, and passes over the rows of its drift."""
    sets = [name for name in (config.watch or "").split(",") if name.strip() and name.strip() != watched_probes.NONE]
    times = steps // (config.measure_every or max(1, steps // MEASUREMENTS))
    probes = sum(_probes_in(name.strip()) for name in sets)
    once = probes * _writing(facts, _ANSWERED) + (_DRIFT_ROWS * _writing(facts, 0) if config.drift else 0.0)
    return times * once


def _preparing(config: TrainConfig, facts: ModelFacts, rows: int) -> float:
    """Operations of asking the base what is rehearsed and measured: its answers are kept, so this is the most."""
    asked = config.rehearsed(rows) + (_DRIFT_ROWS if config.drift else 0)
    return asked * _writing(facts, _WRITTEN)


def _writing(facts: ModelFacts, tokens: int) -> float:
    """Operations of reading a short question and writing `tokens` tokens."""
    return 2 * facts.linear_weights * (_OWN_PROMPT + tokens) + 2 * facts.hidden * facts.vocabulary * max(1, tokens)


def _probes_in(name: str) -> int:
    if name in watched_probes.BUILT_IN:
        return len(sample_files.path(watched_probes.BUILT_IN[name]).read_text("utf-8").splitlines())
    return _SET_PROBES


def _place(machine: Machine) -> tuple[Device, float, str]:
    """Where a run computes: the device, its memory in bytes, and its name inside a sentence."""
    if machine.gpus:
        return "cuda", machine.gpus[0].free_bytes, machine.gpus[0].name
    return "cpu", machine.memory_bytes, "this machine"


def _fitting(config: TrainConfig, preflight: Preflight, facts: ModelFacts, device: Device, available: float) -> str:
    """The one change that makes the run fit, the least costly first; "" when no single one does."""
    halves = [config.batch_size >> n for n in range(1, config.batch_size.bit_length())]
    changes: list[dict[str, Any]] = [{"batch_size": half} for half in halves if half]
    changes += [{"method": name} for name in METHODS if name != config.method]
    changes += [{"max_length": preflight.longest // n} for n in (2, 4) if preflight.longest // n >= 8]
    for change in changes:
        try:
            other = config.replace(**change)
        except BadInput:
            continue  # this method does not take the other settings
        read = replace(preflight, longest=min(preflight.longest, other.max_length))
        needed = _needed(other, read, facts, device, available)
        if needed <= available * _FITS_SHARE:
            ((name, value),) = change.items()
            return f"With {FIELDS[name].label.lower()} {value} it would take about {needed / 1e9:.1f} GB."
    return ""


def _smaller(config: TrainConfig, facts: ModelFacts, device: Device, available: float) -> str:
    """What to change when memory is short."""
    own = METHODS[config.method].memory(config, facts, device, available)
    smaller = [method.name for method in meant_by(AUTO) if method.memory(config, facts, device, available) < own]
    less = [f"the method {name}" for name in smaller]
    lower = " or ".join(FIELDS[name].label.lower() for name in ("batch_size", "max_length"))
    return f"Choose {', '.join([*less, 'a smaller model'])} or a lower {lower}."


def _shared(config: TrainConfig, preflight: Preflight) -> int:
    """Tokens in one pass over the data that shared-prefix packing does not compute."""
    packed = config.packing == "shared-prefix" and why_unused(config.objective, "packing") is None
    if not packed or not preflight.rows:
        return 0
    together = min(config.batch_size, preflight.rows)
    return int(preflight.prefix_tokens * preflight.rows * (1 - 1 / together))


def _speed(config: TrainConfig, machine: Machine) -> float:
    if machine.gpus:
        return _GPU_FLOPS * config.processes
    fast = machine.fast_bf16 and config.dtype != "fp32"
    return (_CPU_FLOPS_PER_CORE if fast else _PLAIN_CPU_FLOPS_PER_CORE) * (config.threads or machine.cores)


def _needed(config: TrainConfig, preflight: Preflight, facts: ModelFacts, device: Device, available: float) -> float:
    """Bytes of a run: of the machine, or of each card."""
    return (_BASE_BYTES + _memory(config, preflight, facts, device, available)) * _copies(config, device)


def _copies(config: TrainConfig, device: Device) -> int:
    """How many processes share one memory: all of a run on the CPU, while on a GPU each has its card."""
    return config.processes if device == "cpu" else 1


def _share(config: TrainConfig, weights: float) -> float:
    """What each process holds of so many bytes of weights, gradients and optimizer state."""
    return weights / config.processes if config.shard else weights


def _memory(config: TrainConfig, preflight: Preflight, facts: ModelFacts, device: Device, available: float) -> float:
    """Bytes for weights, adapter with optimizer, and activations of the largest pass."""
    average = preflight.tokens / max(1, preflight.rows)
    tokens = max(min(PACK_TOKENS[device], average * config.batch_size), preflight.longest)
    if rows_of_pass := OBJECTIVES[config.objective].rows_of_pass:
        tokens = rows_of_pass(config) * preflight.longest
    activations = tokens * activation_bytes(facts.layers, facts.hidden, compute_bytes(config))
    logits = tokens * preflight.trained_tokens / max(1, preflight.tokens) * facts.vocabulary * 4 * 3
    return _share(config, METHODS[config.method].memory(config, facts, device, available)) + activations + logits


def _gpus() -> list[Gpu]:
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    cards = [line.rsplit(",", 2) for line in lines if line.count(",") >= 2]
    return [
        Gpu(name.strip(), int(free) * 2**20, int(total) * 2**20)
        for name, free, total in cards
        if free.strip().isdigit() and total.strip().isdigit()
    ]


def _fast_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware. False where that cannot be found out."""
    try:
        return "avx512_bf16" in (flags := Path("/proc/cpuinfo").read_text("utf-8")) or "amx_bf16" in flags
    except OSError:
        return False
