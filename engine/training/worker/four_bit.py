"""After a run on 4-bit weights: is its adapter better on those weights or on the base's original ones?
Measures both, keeps the answer in the run's folder, and writes the 4-bit weights as a plain folder when they are taken.

An adapter learns to correct the error of the quantisation too (Dettmers et al., https://arxiv.org/abs/2305.14314), so
on other weights than it was trained on it answers differently. A bitsandbytes checkpoint has no original weights here:
its own blocks, dequantised, are what every use of the run needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.core.files import write_json
from engine.models import inspection, pinning, trained_weights, weight_files
from engine.models.chat_template import MASKED, Example
from engine.models.default_model import COMPLETE
from engine.training.worker import model_cache, packing
from engine.training.worker.contracts import TrainingJob
from engine.training.worker.loading import Loaded
from engine.training.worker.packing import Pack, Packer
from store.errors import NoSpace, TuningforkError, Unsupported

MEASURED_ROWS = 48
"""Rows that are measured at most."""
SAME_KL = 1e-3
"""Below this mean KL divergence (nats) both weights give the same model, and the original ones are taken."""
_SPARE_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class WeightsComparison:
    """Mean loss of an adapter on `tokens` trained tokens of `rows` rows, in nats, on the base's original and its 4-bit
    weights, and the mean KL divergence of the first from the second."""

    rows: int
    tokens: int
    original: float
    nf4: float
    kl: float

    @property
    def take_nf4(self) -> bool:
        """Whether the adapter is better on the weights that it was trained on."""
        return self.kl > SAME_KL and self.nf4 < self.original

    def __str__(self) -> str:
        taken = trained_weights.NF4 if self.take_nf4 else "on the base's original weights"
        return (
            f"The adapter was trained on 4-bit weights. On {self.rows} rows its loss is {self.nf4:.4f} there and "
            f"{self.original:.4f} on the original weights (KL {self.kl:.4f}): Compare and exports use it {taken}."
        )


def settle(job: TrainingJob, loaded: Loaded, packer: Packer, rows: Sequence[Example]) -> None:
    """Decide which weights the run's adapter is used on, and keep that in the run's folder and its log.

    Does nothing for a run on 16-bit weights. `rows` are what to measure on, those that were not trained on if there are
    any. What cannot be done is reported as a warning: the run itself has succeeded.
    """
    layers = layers_of(loaded.model)
    if not layers:
        return
    say = job.reporter.say
    try:
        compared = None
        if not inspection.is_quantised(job.base_folder) and not job.config.dora:
            say("Comparing the adapter on 4-bit and on original weights", phase="comparing")
            compared = compare(loaded.model, layers, originals(layers, job.base_folder), packer(_some(rows)), len(rows))
        kept: dict[str, Any] = {"used": "original"}
        if compared is None or compared.take_nf4:
            folder = dequantised_folder(job, loaded, layers)
            place = folder.relative_to(job.models.parent) if job.models else folder
            kept = {"used": "nf4", "folder": str(place), "files": pinning.fingerprint(folder)}
        figures: dict[str, Any] = {}
        if compared is not None:
            losses = {"original": compared.original, "nf4": compared.nf4}
            figures = {"rows": compared.rows, "tokens": compared.tokens, "loss": losses, "kl": compared.kl}
            text = str(compared)
        else:
            text = f"Compare and exports use the adapter {trained_weights.NF4}, which it was trained on."
        write_json(job.out / trained_weights.FILE, kept | figures)
        say(text, **kept, **figures)
    except (TuningforkError, OSError) as error:
        (job.out / trained_weights.FILE).unlink(missing_ok=True)
        why = error.what if isinstance(error, TuningforkError) else str(error)
        say(
            f"The 4-bit weights that the adapter was trained on could not be kept or compared: {why} Compare and "
            "exports use the adapter on the base as it is, where its answers may be worse.",
            level="warning",
        )


def layers_of(model: Any) -> dict[str, Any]:
    """The bitsandbytes layers of a model with an adapter, by their names in the base."""
    import bitsandbytes as bnb

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return {
        name.removesuffix(".base_layer"): module
        for name, module in base.named_modules()
        if isinstance(module, bnb.nn.Linear4bit)
    }


def plain_weight(layer: Any) -> Tensor:
    """A layer's weight as products use it, shape (outputs, inputs), in the compute dtype."""
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(layer.weight.quant_state.dtype)


def _some(rows: Sequence[Example]) -> list[Example]:
    return random.Random(0).sample(list(rows), min(MEASURED_ROWS, len(rows)))


# --- comparing --------------------------------------------------------------------------------------------------------


def originals(layers: Mapping[str, Any], folder: Path) -> dict[str, Callable[[], Tensor]]:
    """How to read the original weight of each layer, one at a time. Unsupported when the files call it otherwise."""
    headers = weight_files.read_tensors(folder)
    found: dict[str, Callable[[], Tensor]] = {}
    for name in layers:
        tensor = f"{name}.weight"
        if tensor not in headers:
            raise Unsupported(f"The base's files have no tensor {tensor}.", where=str(folder))
        found[name] = _reader(headers[tensor].file, tensor)
    return found


def _reader(file: Path, name: str) -> Callable[[], Tensor]:
    def read() -> Tensor:
        with safe_open(file, "pt") as tensors:
            return tensors.get_tensor(name)

    return read


@torch.no_grad()
def compare(
    model: Any, layers: Mapping[str, Any], weights: Mapping[str, Callable[[], Tensor]], packs: Sequence[Pack], rows: int
) -> WeightsComparison:
    """The model's losses on its 4-bit layers and with `weights` in their place; one of these is in memory at a time.

    `rows` is the number of rows in the packs. Leaves the model as it was.
    """
    tokens, losses, kl = 0, [0.0, 0.0], 0.0
    device = next(iter(layers.values())).weight.device
    with packing.evaluating(model):
        for pack in packs:
            here = packing.to_device(pack, device)
            own = packing.log_probabilities(model, here)
            with _replaced(layers, weights):
                other = packing.log_probabilities(model, here)
            targets = here.targets[here.targets != MASKED]
            losses[0] -= float(other.gather(1, targets[:, None]).sum())
            losses[1] -= float(own.gather(1, targets[:, None]).sum())
            kl += float((own.exp() * (own - other)).sum())
            tokens += len(targets)
    tokens = max(1, tokens)
    return WeightsComparison(min(rows, MEASURED_ROWS), tokens, losses[0] / tokens, losses[1] / tokens, kl / tokens)


@contextlib.contextmanager
def _replaced(layers: Mapping[str, Any], weights: Mapping[str, Callable[[], Tensor]]) -> Iterator[None]:
    """While inside, the layers multiply with other weights, read for each product."""
    before = {name: layer.__dict__.get("forward") for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.forward = _ReadLinear(weights[name], layer)
        yield
    finally:
        for name, layer in layers.items():
            if before[name] is None:
                del layer.forward
            else:
                layer.forward = before[name]


class _ReadLinear:
    """A linear layer's product with a weight that is read when it is needed."""

    def __init__(self, read: Callable[[], Tensor], layer: Any) -> None:
        self.read, self.bias, self.dtype = read, layer.bias, layer.weight.quant_state.dtype

    def __call__(self, x: Tensor) -> Tensor:
        weight = self.read().to(x.device, self.dtype)
        bias = self.bias.to(self.dtype) if self.bias is not None else None
        return torch.nn.functional.linear(x.to(self.dtype), weight, bias).to(x.dtype)


# --- the 4-bit weights as a folder ------------------------------------------------------------------------------------


def dequantised_folder(job: TrainingJob, loaded: Loaded, layers: Mapping[str, Any]) -> Path:
    """The folder of the base's 4-bit weights, dequantised; made once for each base, number format and device.

    NoSpace when the disk cannot hold it; Unsupported when the base's files do not call the layers as the model does.
    """
    files = pinning.fingerprint(job.base_folder)
    about = json.dumps([sorted(files.items()), str(loaded.dtype), loaded.device])
    mark = hashlib.sha256(about.encode()).hexdigest()[:12]
    out = (job.models or job.out) / f"nf4-{job.base_folder.name[:40]}-{mark}"
    with model_cache.alone(out, job.reporter.say):
        if not (out / COMPLETE).is_file():
            job.reporter.say("Writing the 4-bit weights as a plain model", phase="saving")
            write_folder(job.base_folder, layers, out)
    return out


def write_folder(base: Path, layers: Mapping[str, Any], out: Path) -> None:
    """Write the model in `base` to `out` with the weights of `layers` in place of its own, one file at a time."""
    headers = weight_files.read_tensors(base)
    lost = [name for name in layers if f"{name}.weight" not in headers]
    if lost:
        raise Unsupported(f"The base's files have no tensor {lost[0]}.weight.", where=str(base))
    numbers = sum(layer.in_features * layer.out_features for layer in layers.values())
    needed = numbers * 4 + sum(header.bytes for header in headers.values()) + _SPARE_BYTES
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        what = f"Keeping the 4-bit weights needs up to {needed / 1e6:.0f} MB; {free / 1e6:.0f} MB are free."
        raise NoSpace(what, where=str(out.parent))
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    try:
        for file in sorted({header.file for header in headers.values()}):
            with safe_open(file, "pt") as tensors:
                names = [name for name in tensors.keys() if not _belongs_to_blocks(name, layers)]  # noqa: SIM118
                made = {
                    name: plain_weight(layers[name.removesuffix(".weight")]).cpu().contiguous()
                    if name.removesuffix(".weight") in layers
                    else tensors.get_tensor(name)
                    for name in names
                }
            save_file(made, part / file.name, {"format": "pt"})
        _copy_rest(base, layers, part)
        manifest = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
        write_json(part / COMPLETE, manifest)
        shutil.rmtree(out, ignore_errors=True)
        part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _belongs_to_blocks(name: str, layers: Mapping[str, Any]) -> bool:
    """Whether a tensor only describes the 4-bit blocks of a bitsandbytes checkpoint: `….weight.absmax` and the like."""
    module, found, _ = name.partition(".weight.")
    return bool(found) and module in layers


def _copy_rest(base: Path, layers: Mapping[str, Any], part: Path) -> None:
    """Configuration, tokenizer and template, as far as they describe a plain model."""
    for path in sorted(base.iterdir()):
        known = path.suffix in (".json", ".jinja", ".txt", ".model") or path.name.startswith(("README", "LICENSE"))
        known = known and not path.name.startswith(("adapter_", "."))
        if path.is_file() and known:
            shutil.copyfile(path, part / path.name)
    config = json.loads((base / "config.json").read_text("utf-8"))
    config.pop("quantization_config", None)
    dtype = str(next(iter(layers.values())).weight.quant_state.dtype).removeprefix("torch.")
    for key in {"dtype", "torch_dtype"} & set(config) or {"dtype"}:
        config[key] = dtype
    write_json(part / "config.json", config)
    index = part / weight_files.INDEX
    if index.is_file():
        body = json.loads(index.read_text("utf-8"))
        names = {n: file for n, file in body["weight_map"].items() if not _belongs_to_blocks(n, layers)}
        write_json(index, body | {"weight_map": names})
        total = sum(header.bytes for header in weight_files.read_tensors(part).values())
        write_json(index, body | {"weight_map": names, "metadata": {"total_size": total}})
