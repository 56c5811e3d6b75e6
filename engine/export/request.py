"""What can be asked of an export: formats, quants, and a request as it travels to the process that makes it.
Words only: no file is looked at here, and nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMATS: dict[str, str] = {
    "gguf-adapter": "LoRA as GGUF, for llama.cpp users who have the base model; smallest",
    "gguf": "one GGUF file for llama.cpp, LM Studio and everything built on them",
    "ollama": "a GGUF file and the Modelfile that makes Ollama treat it as the run did",
    "merged": "safetensors with tokenizer and template, for transformers and vLLM",
    "adapter": "the PEFT folder, for transformers + PEFT and vLLM",
}
QUANTS: dict[str, float] = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 1.0625, "q6_k": 0.82, "q5_k_m": 0.72, "q4_k_m": 0.62, "q4_1": 0.63,
    "q4_0": 0.57,
}  # fmt: skip
"""What a GGUF can hold, in bytes a weight; K-quants roughly, llama.cpp mixes types."""
QUANTISED = frozenset({"gguf", "ollama"})


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to make: a format, and for GGUF files a quant."""

    format: str
    quant: str | None = None

    @property
    def title(self) -> str:
        """`gguf q8_0`, `merged` …"""
        return f"{self.format} {self.quant}" if self.quant else self.format

    @property
    def stem(self) -> str:
        """The ending of its name: `q8_0`, `ollama-q8_0`, `merged` …"""
        return "-".join(p for p in (self.format if self.format != "gguf" else None, self.quant) if p)


@dataclass(frozen=True, slots=True)
class Request:
    """What to make of a run. `run` is NAME or NAME@STEP (with or without `run:`); without a step it is the best one.

    `out` is a folder, or for one GGUF a path that ends in .gguf; None is the home's exports folder. `probes` is a JSONL
    file to put to what was made, on top of the questions that the run was trained on; `variables` fill its
    placeholders. `converter` is native or official: official runs llama.cpp's own script, fetched into the home.
    """

    run: str
    targets: tuple[Target, ...]
    out: Path | None = None
    overwrite: bool = False
    prove: bool = True
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
