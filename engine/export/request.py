"""What is asked of an export: the targets and where to put them, as it travels to the process that makes it.
Words only: no file is looked at here, and nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

AUTO = "auto"
"""The quant that stands for the smallest one that passes."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to make: the name of an export target, and a quant where it has some. `importance` is whether the
    quantiser weighs columns by what the run's data activates."""

    format: str
    quant: str | None = None
    importance: bool = False

    @property
    def title(self) -> str:
        """`gguf q8_0`, `merged`, `gguf iq4_xs with a matrix` …"""
        words = [self.format, *([self.quant] if self.quant else []), *(["with a matrix"] if self.importance else [])]
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Request:
    """What to make of a run. `run` is NAME or NAME@STEP (with or without `run:`); without a step it is the best one.

    `out` is a folder, or for one GGUF a path that ends in .gguf; None is the home's exports folder. `verify` is whether
    what was made is checked; `probes` is a JSONL file to put to it besides the questions that the run was trained on,
    and `variables` fill its placeholders. `converter` is native or official: official runs llama.cpp's own script,
    fetched into the home.
    """

    run: str
    targets: tuple[Target, ...]
    out: Path | None = None
    overwrite: bool = False
    verify: bool = True
    probes: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    converter: str = "native"

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        body = asdict(self)
        return body | {"out": self.out and str(self.out), "probes": self.probes and str(self.probes)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Request:
        """The inverse of `to_json`."""
        targets = tuple(Target(**target) for target in body["targets"])
        paths = {name: Path(body[name]) if body[name] else None for name in ("out", "probes")}
        return cls(**{**body, **paths, "targets": targets})
