"""TrainConfig: every setting of a training run, one row for each, checked, as JSON and as a hash.
The command line's options, the Train form, errors, docs/cli.md and the model card's labels all come from these rows.
No defaults by model size (recipes.py), no files, no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.training.fields import TrainingField, fields_of, row
from engine.training.launchers import LAUNCHERS
from engine.training.methods import AUTO, METHODS, meant_by
from engine.training.objectives import OBJECTIVES, why_unused
from engine.training.objectives.dpo import LOSSES
from engine.training.stop_rules import RESULTS, STOP_RULES
from store.canon import canonical, sha256
from store.errors import BadInput
from store.suggest import hint

_BILLION = 1_000_000_000
OPTIMIZERS = ("adamw", "paged_adamw_8bit")
MOST_REHEARSED = 200
"""Rows of the base's own answers in a run at most: sample_data has about as many questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The settings of one run. An instance is always valid: a wrong value raises BadInput with the field's label.

    The rows stand in the order in which they are offered. To add a field, add a row with `added_later=True`, so that
    the hashes of older runs stay as they are.
    """

    # fmt: off
    model: str = row(kind="text", group="basic", label="Model", help="The base model.")
    recipe: str = row("identity", kind="text", group="basic", label="Recipe",
        help="A named set of settings, which the other options change.")
    method: str = row(AUTO, kind="choice", choices=lambda: (AUTO, *METHODS), group="basic", label="Method",
        help="How the adapter is trained; auto: lora where it fits in memory, qlora where it does not.")
    epochs: float = row(3.0, kind="number", low=0, above_low=True, high=10_000, group="basic", label="Epochs",
        unit="passes over the data", help="Passes over the data.")
    steps: int | None = row(None, kind="whole", low=1, high=_BILLION, empty="the epochs decide", group="basic",
        label="Steps", help="Optimizer steps, instead of epochs.")
    lr: float = row(5e-4, kind="number", low=0, above_low=True, high=1, group="basic", label="Learning rate",
        unit="at its peak", help="Peak learning rate.")
    rank: int = row(16, kind="whole", low=1, high=4096, group="basic", label="LoRA rank", unit="size of the adapter",
        help="Rank of the adapter: its size.")
    alpha: float = row(32.0, kind="number", low=0, above_low=True, high=1e6, label="LoRA alpha",
        unit="strength of the adapter",
        help="Strength of the adapter: its output is scaled by alpha / rank, or with rsLoRA by alpha / √rank.")
    dropout: float = row(0.0, kind="number", low=0, high=0.9, label="LoRA dropout", unit="share of inputs",
        help="Share of the adapter's inputs that is dropped at random in training.")
    targets: str | tuple[str, ...] = row("all-linear", kind="names", label="LoRA targets",
        help="Modules to adapt: names separated by commas, or all-linear.")
    rslora: bool = row(False, kind="flag", label="rsLoRA",
        help="Scale the adapter by alpha / √rank instead of alpha / rank.")
    dora: bool = row(False, kind="flag", label="DoRA",
        help="Train the magnitude of each weight column apart from its direction (slower).")
    batch_size: int = row(8, kind="whole", low=1, high=65_536, group="basic", label="Batch size",
        unit="rows per step", help="Rows per optimizer step; of grpo and rloo, prompts.")
    max_length: int = row(1024, kind="whole", low=8, high=10_000_000, label="Max length", unit="tokens",
        help="Tokens of the longest row; longer rows are cut, and counted.")
    scheduler: str = row("linear", kind="choice", choices=lambda: ("linear", "cosine", "constant"), label="Schedule",
        help="How the learning rate falls after the warm-up.")
    warmup: float = row(0.1, kind="number", low=0, high=1, label="Warm-up", unit="share of the steps",
        help="Share of the steps in which the learning rate rises to its peak.")
    weight_decay: float = row(0.0, kind="number", low=0, high=1, label="Weight decay",
        help="Decay of the adapter's weights.")
    max_grad_norm: float = row(1.0, kind="number", low=0, high=1e6, label="Max grad norm",
        unit="0 does not clip", help="Clip gradients at this norm; 0 does not clip.")
    dtype: str = row("auto", kind="choice", choices=lambda: ("auto", "bf16", "fp32"), label="Number format",
        help="Number format to compute in; auto takes bf16 where the hardware has it.")
    packing: str = row("shared-prefix", kind="choice", choices=lambda: ("shared-prefix", "padded"), label="Packing",
        help="How rows share a batch: packed behind their common beginning, or padded to one length.")
    seed: int = row(0, kind="whole", low=0, high=2**32 - 1, label="Seed",
        help="The same seed and data give the same run.")
    save_every: int = row(0, kind="whole", low=0, high=_BILLION, label="Save every", unit="steps; 0: only at the end",
        help="Steps between checkpoints; 0 saves only at the end.")
    keep_checkpoints: int = row(2, kind="whole", low=1, high=10_000, label="Keep", unit="checkpoints",
        help="How many checkpoints to keep: the latest ones; the best by validation loss stays, too.")
    threads: int | None = row(None, kind="whole", low=1, high=4096, empty="all cores of the machine",
        label="CPU threads", help="CPU threads of the run.")
    objective: str = row("sft", kind="choice", choices=lambda: OBJECTIVES, label="Objective", added_later=True,
        help="What the run trains towards.")
    launcher: str = row("local", kind="choice", choices=lambda: LAUNCHERS, label="Launcher", added_later=True,
        how=True, help="How the training process is started.")
    processes: int = row(1, kind="whole", low=1, high=1024, label="Processes", unit="that share each step",
        added_later=True, how=True, help="Processes that share the passes of each step (torchrun, ray). The result is"
        " that of one process, but for rounding.")
    shard: bool = row(False, kind="flag", label="Shard the model", added_later=True, how=True,
        help="Divide weights, gradients and optimizer state among the processes (FSDP2): less memory for each and more"
        " exchange between them. Otherwise each process holds the whole model.")
    train_turns: str = row("all", kind="choice", choices=lambda: ("all", "last"), label="Trained turns",
        added_later=True, before="last",
        help="Which answers of a conversation are trained: all but those of weight 0, or only the last.")
    system: str = row("refuse", kind="choice", choices=lambda: ("refuse", "fold"), label="System text",
        added_later=True, help="For models whose chat template takes no system text: refuse rows that have one, or fold"
        " it into the question after it, in training, chat and exports of the run.")
    template: str | None = row(None, kind="text", empty="the model's own", label="Chat template", added_later=True,
        help="A chat template for a base model without one: chatml, alpaca, plain or a file. It is kept with the run.")
    lr_trial: bool = row(False, kind="flag", label="Rate trial", added_later=True,
        help="Try a third of the rate, the rate and three times it for ten steps each, and take the best.")
    rehearsal: float = row(0.0, kind="number", low=0, high=10, label="Rehearsal", unit="rows per row of data",
        added_later=True, help="Rows of the base's own answers to general questions that are mixed in, so that the"
        " model forgets less: how many for each row of data, 200 at most.")
    watch: str | None = row(None, kind="text", empty="no questions are asked", label="Probes during the run",
        added_later=True, help="Probe sets that are asked during the run, separated by commas: identity, general and"
        " leaks, which are built in, sets of yours by name, or files; none asks nothing.")
    drift: bool = row(False, kind="flag", label="Measure drift", added_later=True,
        help="Measure how far the model moves from its base on general questions: KL(tuned || base).")
    measure_every: int = row(0, kind="whole", low=0, high=_BILLION, label="Measure every",
        unit="steps; 0: five times", added_later=True,
        help="Steps between measurements (validation loss, probes, drift); 0 measures five times.")
    stop_when: str = row("never", kind="choice", choices=lambda: STOP_RULES, label="Stop when", added_later=True,
        help="When a run ends before its last step: never; val-loss: the validation loss rises twice; probes: every"
        " probe passes; drift: it passes 1 nat; learned: the identity probes pass and drift rises.")
    result: str = row("last", kind="choice", choices=lambda: RESULTS, label="Result", added_later=True,
        help="Which weights become the run's adapter: those of the last step, or of the measurement with the best"
        " val-loss, the best probes, or (learned) the identity learned with the least drift.")
    modules_to_save: tuple[str, ...] | None = row(None, kind="names", empty="none", label="Whole modules",
        added_later=True, help="Modules to train whole beside the adapter, such as embed_tokens: names separated by"
        " commas. They become part of the adapter, which is then no GGUF adapter.")
    lora_init: str = row("zero", kind="choice", choices=lambda: ("zero", "gaussian", "orthogonal"), label="LoRA start",
        added_later=True, help="How the adapter's factors begin: B at zero and A uniform or gaussian, or both"
        " orthogonal; with each of them the model begins as its base.")
    lora_plus: float = row(1.0, kind="number", low=1, high=1000, label="LoRA+", unit="times the rate, for B",
        added_later=True, help="LoRA+: how many times the learning rate the adapter's B learns at; 16 is the paper's.")
    virtual_tokens: int = row(20, kind="whole", low=1, high=4096, label="Virtual tokens", unit="before every row",
        added_later=True, help="Virtual tokens of prompt, prefix and P-tuning.")
    accumulation: int = row(1, kind="whole", low=1, high=65_536, label="Accumulation", unit="batches per step",
        added_later=True, help="Batches whose gradients are added up for one optimizer step.")
    neftune: float = row(0.0, kind="number", low=0, high=1000, label="NEFTune", unit="noise; 0 is none",
        added_later=True, help="NEFTune: noise on the embeddings in training, 5 to 15 in the paper. Rows are padded"
        " then, since its strength depends on a row's length.")
    optimizer: str = row("adamw", kind="choice", choices=lambda: OPTIMIZERS, label="Optimizer", added_later=True,
        help="adamw: AdamW with float32 masters. paged_adamw_8bit: bitsandbytes' AdamW with 8-bit moments that move to"
        " the CPU's memory where the card's is short; on a CUDA GPU only.")
    on: str | None = row(None, kind="text", empty="a new adapter", label="On top of", added_later=True,
        help="Continue the adapter of an earlier run (run:NAME, run:NAME@STEP) or of an adapter folder, instead of"
        " beginning a new one. Its base, method and shape are taken over.")
    beta: float = row(0.1, kind="number", low=0, above_low=True, high=100, label="Beta", added_later=True,
        help="How strongly the run is held to the model it starts from (dpo, kto, grpo, rloo): higher changes less.")
    dpo_loss: str = row("sigmoid", kind="choice", choices=lambda: LOSSES, label="DPO loss", added_later=True,
        help="Loss on the margin between the chosen and the rejected answer: sigmoid, DPO's own; hinge; ipo, which does"
        " not grow without bounds where all votes agree; apo_zero, which lifts the chosen and lowers the rejected.")
    good_weight: float = row(1.0, kind="number", low=0, above_low=True, high=1000, label="Weight of good",
        added_later=True, help="Weight of answers that were judged good (kto).")
    bad_weight: float = row(1.0, kind="number", low=0, above_low=True, high=1000, label="Weight of bad",
        added_later=True, help="Weight of answers that were judged bad (kto): raise it where they are few.")
    reward: str | None = row(None, kind="text", empty="something else rewards", label="Reward", added_later=True,
        help="The reward model that rewards answers (grpo, rloo): run:NAME of a run towards reward.")
    reward_file: str | None = row(None, kind="text", empty="something else rewards", label="Reward function",
        added_later=True, help="A function of yours that rewards answers (grpo, rloo), as PATH:FUNCTION. The run"
        " executes it: FUNCTION(prompt, answer, expected) gets the messages, the answer, and the data's own answer.")
    reward_probes: str | None = row(None, kind="text", empty="something else rewards", label="Reward probes",
        added_later=True, help="Probe sets that reward answers (grpo, rloo), separated by commas: built-in sets, sets"
        " of yours by name, or files. An answer earns what the probes that ask its question give it, from 0 to 1;"
        " prompts that no probe asks are left out, and counted.")
    reward_judge: str | None = row(None, kind="text", empty="something else rewards", label="Reward judge",
        added_later=True, help="A model that judges answers (grpo, rloo), by any reference: it gives each a score from"
        " 0 to 10 by a rubric, which becomes a reward from 0 to 1. The chat server asks it; an endpoint's key is read"
        " from TUNINGFORK_ENDPOINT_KEY.")
    reward_rubric: str | None = row(None, kind="text", empty="a short one that is built in", label="Rubric",
        added_later=True, help="A text file that tells the judge what a good answer is (grpo, rloo).")
    group_size: int = row(4, kind="whole", low=2, high=1024, label="Group size", unit="answers per prompt",
        added_later=True, help="Answers to each prompt, whose rewards are compared (grpo, rloo).")
    answer_tokens: int = row(64, kind="whole", low=1, high=1_000_000, label="Answer length", unit="tokens at most",
        added_later=True, help="Tokens of an answer at most (grpo, rloo); longer ones are cut off, and counted.")
    temperature: float = row(1.0, kind="number", low=0, above_low=True, high=10, label="Temperature", added_later=True,
        help="Temperature at which answers are sampled (grpo, rloo): higher tries more.")
    # fmt: on

    def __post_init__(self) -> None:
        for name, field in FIELDS.items():
            value = getattr(self, name)
            if field.kind == "number" and type(value) is int and abs(value) <= field.high:
                object.__setattr__(self, name, float(value))  # 32 and 32.0 are one config, so they need one hash
            if field.kind == "names" and isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        self.validate()

    def validate(self) -> None:
        """Raise BadInput for the first field whose value cannot be used, or what the method has against them all."""
        for name, field in FIELDS.items():
            field.require(getattr(self, name))
        for method in meant_by(self.method):
            method.check(self)
            if method.sft_only and (self.objective != "sft" or self.on):
                what = f"The method {method.name} trains towards sft only, and begins at a base model."
                raise BadInput(what, where="on" if self.on else "objective", todo="Take the method lora or qlora.")
        objective = OBJECTIVES[self.objective]
        if objective.methods and not {each.name for each in meant_by(self.method)} <= set(objective.methods):
            what = f"The objective {self.objective} is not trained by the method {self.method}."
            raise BadInput(what, where="method", todo=f"Choose one of: {', '.join(objective.methods)}.")
        objective.check(self)
        LAUNCHERS[self.launcher].check(self)
        for name, field in FIELDS.items():
            if (why := why_unused(self.objective, name)) is not None and getattr(self, name) != field.default:
                what = f"{field.label} is not used by the objective {self.objective}."
                todo = f"Leave it at {field.format(field.default) or 'nothing'}"
                if self.recipe != OBJECTIVES[self.objective].recipe:
                    todo += f", or use a recipe for it, such as {OBJECTIVES[self.objective].recipe}"
                raise BadInput(f"{what} {why}".strip(), where=name, todo=f"{todo}.")

    def replace(self, **changes: Any) -> TrainConfig:
        """A copy with some fields changed; BadInput for an unknown field or a wrong value."""
        _refuse_unknown(changes)
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """A plain dict that JSON can carry and `from_json` reads back to an equal config.

        A field that was added later is left out while it says what runs did before: they and their checkpoints keep
        their hash.
        """
        plain = {
            name: getattr(self, name)
            for name, field in FIELDS.items()
            if not (field.added_later and getattr(self, name) == field.until_added)
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainConfig:
        """Read `to_json`'s dict; BadInput names an unknown or wrong field.

        Missing fields take their defaults; those that were added later take what runs did before.
        """
        if not isinstance(data, Mapping):
            raise BadInput("A training configuration must be a JSON object.")
        _refuse_unknown(data)
        if "model" not in data:
            raise BadInput("The configuration names no model.", where="model", todo='Add "model": a model reference.')
        added = {name: field.until_added for name, field in FIELDS.items() if field.added_later}
        return cls(**{**added, **data})

    def rehearsed(self, rows: int) -> int:
        """Rows of the base's own answers that are mixed into so many rows of data."""
        return min(math.ceil(self.rehearsal * rows), MOST_REHEARSED)

    @property
    def step_rows(self) -> int:
        """Rows of one optimizer step."""
        return self.batch_size * self.accumulation

    def hash(self) -> str:
        """SHA-256 of the canonical JSON of `what_comes_out`: configs that give the same have equal hashes."""
        return sha256(canonical(self.what_comes_out()))

    def what_comes_out(self) -> dict[str, Any]:
        """`to_json` without the fields that only say how a run is computed: what its checkpoints are checked by."""
        return {name: value for name, value in self.to_json().items() if not FIELDS[name].how}


FIELDS: dict[str, TrainingField] = fields_of(TrainConfig)
"""Every field of TrainConfig by name, in the order in which they are offered."""


def used_by(method: str, field: str, objective: str) -> bool:
    """Whether a method and an objective read a field: one that none claims for itself is read by all."""
    if why_unused(objective, field) is not None:
        return False
    claimed = any(field in other.fields for other in METHODS.values())
    return not claimed or any(field in each.fields for each in meant_by(method))


def continued(method: str) -> frozenset[str]:
    """The fields that a run with `on` takes over from the earlier adapter: those of its shape."""
    return frozenset().union(*(each.fields for each in meant_by(method))) - {"dropout"}


def _refuse_unknown(data: Mapping[str, Any]) -> None:
    for key in data:
        if key not in FIELDS:
            todo = hint(str(key), FIELDS, f"Known fields: {', '.join(FIELDS)}.", most=1)
            raise BadInput(f"There is no training option {key!r}.", where=str(key), todo=todo)
