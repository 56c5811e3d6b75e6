"""Full: every weight of the model is trained, with float32 masters.

In PEFT's terms all modules are saved whole (`modules_to_save`), and the base stays beside them, so that checkpoints,
drift and Compare work as for an adapter. That costs a second copy of the weights: 18 bytes for each weight in 16 bits.
"""

from __future__ import annotations

from engine.training.activations import Device
from engine.training.methods.base import MethodConfig, TrainingMethod, compute_bytes, trained_bytes
from engine.training.model_facts import ModelFacts


def _memory(config: MethodConfig, facts: ModelFacts, device: Device, available: float) -> float:
    return facts.weights * compute_bytes(config) + trained_bytes(config, facts.weights)


def _limits(config: MethodConfig) -> tuple[str, ...]:
    return (
        "A full run saves all weights with every checkpoint, and its optimizer's state: eight times the base model's"
        " files. It is no GGUF adapter: Compare answers through transformers, and exports are whole models.",
    )


FULL = TrainingMethod(
    name="full",
    title="Full, all weights",
    summary="Trains all weights of the model: most memory, and most to forget.",
    fields=frozenset(),
    check=lambda config: None,
    exports=lambda config: ("adapter", "merged", "gguf", "ollama"),
    memory=_memory,
    trained=lambda config, facts: facts.weights,
    limits=_limits,
    rate=0.1,
    sft_only=True,
)
