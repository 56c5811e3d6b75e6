"""TrainConfig: every number of a tuning run, checked, as JSON and as a hash.
No defaults by model size (recipes.py), no files, no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from store.canon import canonical, sha256
from store.errors import BadInput
from store.suggest import hint

Method = Literal["lora", "qlora"]
Dtype = Literal["auto", "bf16", "fp32"]
Scheduler = Literal["linear", "cosine", "constant"]
Packing = Literal["shared-prefix", "padded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The numbers of one run. An instance is always valid: a wrong value raises BadInput naming the field.

    `steps` counts optimizer steps; None lets `epochs` decide. `batch_size` is rows per optimizer step, `warmup` a
    ratio of the steps, `max_length` tokens, `save_every` steps (0 = only at the end), `threads` the torch threads
    (None = by the machine).
    """

    model: str
    method: Method = "qlora"
    dtype: Dtype = "auto"
    steps: int | None = None
    epochs: float = 3.0
    batch_size: int = 8
    lr: float = 5e-4
    scheduler: Scheduler = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_length: int = 1024
    seed: int = 0
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    rslora: bool = False
    dora: bool = False
    packing: Packing = "shared-prefix"
    save_every: int = 0
    keep_checkpoints: int = 2
    threads: int | None = None
    recipe: str = "identity"

    def __post_init__(self) -> None:
        for name in _FLOATS:  # 32 and 32.0 are one config, so they need one hash
            value = getattr(self, name)
            if isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, name, float(value))
        if isinstance(self.targets, list):
            object.__setattr__(self, "targets", tuple(self.targets))
        self.validate()

    def validate(self) -> None:
        """Raise BadInput naming the first field whose value cannot be used, and what it must be."""
        for name, (good, wish) in _RULES.items():
            value = getattr(self, name)
            if not good(value):
                raise BadInput(f"{name} is {value!r}; it must be {wish}.", where=name)

    def replace(self, **changes: Any) -> TrainConfig:
        """A copy with some fields changed; BadInput for an unknown field or a wrong value."""
        _refuse_unknown(changes)
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """A plain dict that JSON can carry and `from_json` reads back to an equal config."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        if isinstance(self.targets, tuple):
            plain["targets"] = list(self.targets)
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Read `to_json`'s dict; missing fields take their defaults. BadInput names an unknown or wrong field."""
        if not isinstance(data, Mapping):
            raise BadInput("A training configuration must be a JSON object.")
        _refuse_unknown(data)
        if "model" not in data:
            raise BadInput("The configuration names no model.", where="model", todo='Add "model": a model reference.')
        return cls(**data)

    def hash(self) -> str:
        """SHA-256 of the canonical JSON: equal configs have equal hashes."""
        return sha256(canonical(self.to_json()))


def _refuse_unknown(data: Mapping[str, Any]) -> None:
    names = [f.name for f in fields(TrainConfig)]
    for key in data:
        if key not in names:
            todo = hint(str(key), names, f"Known fields: {', '.join(names)}.", most=1)
            raise BadInput(f"There is no training option {key!r}.", where=str(key), todo=todo)


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


def _between(low: float, high: float, *, open_low: bool = False) -> Callable[[Any], bool]:
    """Finite float in [low, high], or (low, high] when `open_low`."""
    return lambda v: isinstance(v, float) and math.isfinite(v) and (low < v if open_low else low <= v) and v <= high


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return (lambda v: isinstance(v, str) and v in names), "one of " + ", ".join(names)


def _or_none(good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: v is None or good(v)


def _names(value: Any) -> bool:
    """A non-empty string, or a non-empty tuple of them."""
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(v, str) and v for v in value)
    return isinstance(value, str) and bool(value.strip())


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


_FLOATS = ("epochs", "lr", "warmup", "weight_decay", "max_grad_norm", "alpha", "dropout")
_BILLION = 1_000_000_000
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (_text, "a model reference"),
    "method": _one_of("lora", "qlora"),
    "dtype": _one_of("auto", "bf16", "fp32"),
    "steps": (_or_none(_whole(1, _BILLION)), "a whole number above 0, or nothing to go by epochs"),
    "epochs": (_between(0, 10_000, open_low=True), "a number above 0"),
    "batch_size": (_whole(1, 65_536), "a whole number above 0"),
    "lr": (_between(0, 1, open_low=True), "a number above 0 and at most 1"),
    "scheduler": _one_of("linear", "cosine", "constant"),
    "warmup": (_between(0, 1), "a ratio from 0 to 1"),
    "weight_decay": (_between(0, 1), "a number from 0 to 1"),
    "max_grad_norm": (_between(0, 1e6), "a number of 0 (no clipping) or more"),
    "max_length": (_whole(8, 10_000_000), "a whole number of 8 tokens or more"),
    "seed": (_whole(0, 2**32 - 1), "a whole number from 0 to 4294967295"),
    "rank": (_whole(1, 4096), "a whole number from 1 to 4096"),
    "alpha": (_between(0, 1e6, open_low=True), "a number above 0"),
    "dropout": (_between(0, 0.9), "a number from 0 to 0.9"),
    "targets": (_names, "all-linear or a list of module names"),
    "rslora": (_flag, "true or false"),
    "dora": (_flag, "true or false"),
    "packing": _one_of("shared-prefix", "padded"),
    "save_every": (_whole(0, _BILLION), "a whole number of steps, 0 to save only at the end"),
    "keep_checkpoints": (_whole(1, 10_000), "a whole number above 0"),
    "threads": (_or_none(_whole(1, 4096)), "a whole number above 0, or nothing to go by the machine"),
    "recipe": (_text, "a name"),
}
