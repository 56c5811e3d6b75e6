"""What reading another program's configuration needs: its keys by name and line, what was found, what was changed.
Which key means what is in a file for each program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.training.config import FIELDS
from engine.training.launchers.base import SHARDED
from engine.training.methods import METHODS
from engine.training.objectives import OBJECTIVES
from store.errors import BadInput

_NO = ("", "no", "false", "none", "null")


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One key of the other file, with a dot between the names of groups, as text, None or a list."""

    name: str
    value: Any
    line: int


@dataclass(frozen=True, slots=True)
class Program:
    """One program whose files can be read. `signs` are keys that only its files have; `move` fills a Migration."""

    name: str
    title: str
    signs: frozenset[str]
    move: Callable[[Migration], None]


@dataclass(slots=True)
class Migration:
    """A file on its way into ours. `values` are our settings, `run` the run's name, if any.

    `changed` are sentences on what means something else here, and a key that no one
    took has no counterpart. `given` are our settings that a key of the file set; the others are the program's defaults.
    """

    path: Path
    program: Program
    keys: Mapping[str, ForeignKey]
    values: dict[str, Any] = field(default_factory=dict)
    run: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)

    def text(self, name: str) -> str | None:
        """Take a key as text; None when it is missing or empty, or holds a list, which is left without counterpart."""
        key = self.keys.get(name)
        if key is None or isinstance(key.value, list):
            return None
        self._taken.add(name)
        return str(key.value) if key.value not in (None, "") else None

    def listed(self, name: str) -> list[str]:
        """Take a key as a list of texts; a text with commas is one, too."""
        key = self.keys.get(name)
        if key is None:
            return []
        self._taken.add(name)
        found = key.value if isinstance(key.value, list) else str(key.value or "").split(",")
        return [str(each).strip() for each in found if isinstance(each, str) and each.strip()]

    def flag(self, name: str, default: bool = False) -> bool:
        """Take a key that is on or off, in any of YAML's words for it."""
        text = self.text(name)
        return default if text is None else text.lower() in ("true", "yes", "on", "1")

    def number(self, name: str) -> float | None:
        """Take a key that is a number; BadInput with its line when it is none."""
        text = self.text(name)
        try:
            return None if text is None else float(text.replace("_", ""))
        except ValueError:
            where = f"{self.path}, line {self.keys[name].line}"
            raise BadInput(f"{name} is {text!r}; it must be a number.", where=where, todo="Correct it.") from None

    def leave(self, name: str, why: str) -> None:
        """Give a key back: it has no counterpart, for a reason that is told."""
        self._taken.discard(name)
        self.changed.append(why)

    def set(self, ours: str, value: Any, theirs: str) -> None:
        """Set one of our settings from a key of theirs. BadInput with the key's line for a value we cannot use."""
        known = FIELDS[ours]
        if known.kind == "whole" and isinstance(value, float) and value.is_integer():
            value = int(value)
        try:
            known.require(value)
        except BadInput as error:
            line = f", line {self.keys[theirs].line}" if theirs in self.keys else ""
            raise BadInput(
                f"{theirs}: {error.what}", where=f"{self.path}{line}", todo="Correct it, or take the line out."
            ) from None
        self.values[ours] = value
        if theirs in self.keys:
            self.given.add(ours)

    def same(self, pairs: Mapping[str, str]) -> None:
        """Copy keys whose meaning is ours: their name -> our name."""
        for theirs, ours in pairs.items():
            kind = FIELDS[ours].kind
            value = self.number(theirs) if kind in ("whole", "number") else self.text(theirs)
            if kind == "flag":
                value = self.flag(theirs) if value is not None else None
            if value is not None:
                self.set(ours, value, theirs)

    def batch(self, rows: str, times: str, default_rows: int, default_times: int) -> None:
        """Rows per optimizer step: those of one device, times the accumulation. The devices are in no file."""
        per, often = self.number(rows), self.number(times)
        product = (default_rows if per is None else per) * (default_times if often is None else often)
        self.set("batch_size", float(product), rows)
        if times in self.keys:
            self.changed.append(f"{rows} × {times} became batch_size {product:g}: the rows of one optimizer step.")
        self.changed.append("batch_size counts all devices together; times their number, if there was more than one.")

    def schedule(self, name: str, default: str) -> None:
        """The shape of the learning rate; of those that we have not, the nearest is taken and told."""
        text = (self.text(name) or default).lower()
        nearest = {"constant_with_warmup": "constant", "cosine_with_restarts": "cosine", "cosine_with_min_lr": "cosine",
                   "polynomial": "linear", "inverse_sqrt": "cosine", "one_cycle": "cosine"}  # fmt: skip
        ours = nearest.get(text, text)
        if ours not in FIELDS["scheduler"].choices():
            ours = "linear"
        if ours != text and text != "constant_with_warmup":
            self.changed.append(f"{name} {text} became scheduler {ours}, the nearest.")
        self.values["scheduler"] = ours
        self.given |= {"scheduler"} if name in self.keys else set()

    def optimizer(self, name: str) -> None:
        """The optimizer: any AdamW is ours, but for the number format of its state."""
        text = self.text(name)
        if text is None:
            return
        if "adamw" not in text.lower():
            self.leave(name, f"{name} {text} has no counterpart: the optimizer is AdamW.")
        elif "8bit" in text or "paged" in text:
            self.changed.append(f"{name} {text} became AdamW with its state in 32 bits: more memory, the same rule.")

    def warm_up(self, ratio: str, steps: str, default: float) -> None:
        """The warm-up as a share of the steps. A number of steps can be turned into one where all steps are known."""
        share, count = self.number(ratio), self.number(steps)
        if share is not None and share >= 1 and count is None:  # transformers 5 takes steps in the same key
            share, count, steps = None, share, ratio
        total = self.values.get("steps")
        if count is not None and count < 1:
            share, count = count, None
        if count is not None and total:
            share = min(1.0, count / total)
            self.changed.append(f"{steps} {count:g} of {total} steps became warmup {share:g}, a share of the steps.")
        elif count is not None:
            self.leave(steps, f"{steps} counts steps; ours is a share of them, and the file does not say how many.")
        self.set("warmup", float(default if share is None else share), ratio)

    def numbers(self, bf16: str, fp16: str) -> None:
        """The number format. fp16 becomes auto: nothing trains in fp16 here."""
        half = self.flag(fp16)
        text = self.text(bf16) or ""
        if half:
            self.changed.append("fp16 became dtype auto: bf16 where the hardware has it, else fp32.")
        self.values["dtype"] = "bf16" if text.lower() in ("true", "yes", "on", "1") else "auto"

    def objective(self, wanted: str | None, key: str) -> None:
        """What the run trains towards. BadInput for what we have not: the data would mean something else."""
        if wanted not in OBJECTIVES:
            have = ", ".join(OBJECTIVES)
            text = self.keys[key].value if key in self.keys else wanted
            line = f", line {self.keys[key].line}" if key in self.keys else ""
            raise BadInput(
                f"{key} {text} has no counterpart here.", where=f"{self.path}{line}", todo=f"Objectives here: {have}."
            )
        self.values["objective"] = wanted

    def method(self, name: str | None, key: str) -> None:
        """How weights are adapted: None for all of them. Where full tuning is not offered, LoRA is taken and told."""
        if name is None and "full" in METHODS:
            self.values["method"] = "full"
        elif name is None or name not in METHODS:
            what = "Tuning of all weights" if name is None else f"{key} {name}"
            self.changed.append(f"{what} has no counterpart: the method became lora, which trains an adapter.")
            self.values["method"] = "lora"
        else:
            self.values["method"] = name

    def sharding(self, name: str = "fsdp", options: str = "fsdp_config") -> None:
        """Whether the model is sharded, which the method and objective found before must allow. The file does not say
        over how many processes."""
        wanted = [each for each in (self.listed(name) or [self.text(name) or ""]) if each.lower() not in _NO]
        inner = [key for key in self.keys if key.startswith(f"{options}.")]
        if not wanted and not inner:
            return
        key = name if wanted else inner[0]
        if self.values["objective"] != "sft" or self.values["method"] not in SHARDED:
            self.leave(
                key,
                f"{key} has no counterpart for the method {self.values['method']} and the objective"
                f" {self.values['objective']}: such a run is not sharded.",
            )
            return
        if "offload" in " ".join(wanted) or self.flag(f"{options}.offload_params"):
            self.changed.append(f"{key}: nothing is moved to the CPU's memory; the shards stay on the device.")
        for each in (*inner, "fsdp_version"):
            self.text(each)
        self.values |= {"launcher": "torchrun", "processes": 2, "shard": True}
        self.changed.append(
            f"{key} became shard with the launcher torchrun: weights, gradients and optimizer state are divided among"
            " the processes, layer by layer (FSDP2). The file does not say how many: set processes."
        )

    def missing(self) -> list[ForeignKey]:
        """The keys that no one took, in the file's order: they have no counterpart. Empty ones said nothing."""
        said = (key for key in self.keys.values() if key.value not in (None, "", [], {}))
        return [key for key in said if key.name not in self._taken]
