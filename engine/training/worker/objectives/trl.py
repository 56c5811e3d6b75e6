"""The way of an objective whose loss is TRL's: load, build its trainer, measure on the val split, train to the end.
What differs from objective to objective comes in as Work. SFT goes its own way (sft.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, PrinterCallback, set_seed

from engine.models.chat_template import ChatTemplate, Example
from engine.training.activations import PACK_TOKENS
from engine.training.estimate import total_steps
from engine.training.objectives import OBJECTIVES
from engine.training.preflight import Preflight
from engine.training.worker import loading, packing, scoring
from engine.training.worker.callbacks import RunCallback, StepNumbers, refuse_broken
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.loading import Loaded
from engine.training.worker.objectives import shared
from engine.training.worker.objectives.shared import RunTrainer
from engine.training.worker.packing import Packer
from engine.training.worker.rehearsal import OwnAnswers
from engine.training.worker.watching import Drift, Watcher

Row = dict[str, Any]
"""One row as TRL's collator takes it."""


@dataclass(frozen=True, slots=True)
class Work:
    """What an objective trains on: `train` and `val` rows, how a trainer is built from a Setup, and which numbers of
    TRL's log the run keeps. `measured_on` are rows as SFT trains them, for a base in 4 bits."""

    train: Sequence[Row]
    val: Sequence[Row]
    measured_on: Sequence[Example]
    build: Callable[[Setup], RunTrainer]
    logged: Mapping[str, str]


@dataclass(slots=True)
class Setup:
    """What a trainer is built from: `arguments` for its configuration, and `options` for its __init__."""

    job: TrainingJob
    loaded: Loaded
    template: ChatTemplate
    total: int
    numbers: StepNumbers
    arguments: dict[str, Any]
    options: dict[str, Any]
    attributes: dict[str, Any]

    def prepare(self, trainer: RunTrainer) -> None:
        """Give a trainer what RunTrainer needs, before TRL's own __init__."""
        for name, value in self.attributes.items():
            setattr(trainer, name, value)


def train(job: TrainingJob, template: ChatTemplate, found: Preflight, work: Work) -> Outcome:
    """Train to the end or to a wanted stop, on rows that a preflight has checked."""
    config, say = job.config, job.reporter.say
    for note in found.require().notes:
        say(note, level="warning")
    where = loading.device()
    say(f"Loading the base model ({config.method}, {where}, {torch.get_num_threads()} threads)", phase="loading")
    set_seed(config.seed)
    loaded = loading.load(config, job.base_folder, where)
    for note in loaded.notes:
        say(note)
    limit = PACK_TOKENS[loaded.device]
    packer: Packer = lambda rows: packing.pack_padded(rows, limit, template.pad_id)  # noqa: E731
    drift = None
    if config.drift:
        drift = Drift(
            loaded.model, where, packer(OwnAnswers(job, loaded.model, template, str(loaded.dtype)).to_measure())
        )
    shared.begin(job, loaded)
    total = total_steps(config, len(work.train))
    validation = TrlValidation(job, work.val, work.logged)
    watcher = Watcher(job, loaded.model, template, total, validation.loss, drift)
    numbers = StepNumbers()
    run = RunCallback(job, numbers, total, validation.loss, watcher, work.logged)
    optimizer, scheduler, curve = shared.optimizer_of(job, loaded, total, config.lr)
    options = {
        "model": loaded.model,
        "processing_class": tokenizer_of(template, answers=OBJECTIVES[config.objective].answers),
        "optimizers": (optimizer, scheduler),
        "callbacks": [run],
    }
    attributes = {"run": run, "curve": curve, "measure_loss": validation.loss}
    rows_of_pass = OBJECTIVES[config.objective].rows_of_pass
    tokens = found.longest * (rows_of_pass(config) if rows_of_pass else 1)
    given = shared.arguments(job, loaded, total, tokens)
    setup = Setup(job, loaded, template, total, numbers, given, options, attributes)
    trainer = work.build(setup)
    trainer.remove_callback(PrinterCallback)
    validation.trainer = trainer
    say(f"Training on {len(work.train)} rows, {found.trained_tokens:,} trained tokens", phase="training")
    shared.announce(job, loaded, total, config.lr)
    return shared.train_to_end(trainer, job, loaded, template, watcher, total, packer, work.measured_on)


def tokenizer_of(template: ChatTemplate, *, answers: bool) -> PreTrainedTokenizerFast:
    """The template's tokenizer as TRL's trainers require one. Rows are tokens already: it only knows what pads."""
    padding = template.pad_id if answers else scoring.pad_of(template)
    pad, end = (template.tokenizer.id_to_token(id) for id in (padding, template.eot_id))
    return PreTrainedTokenizerFast(
        tokenizer_object=template.tokenizer, pad_token=pad, eos_token=end, padding_side="left"
    )


def count_and_check(trainer: Any, numbers: StepNumbers, inputs: Mapping[str, Any], loss: torch.Tensor) -> None:
    """Count the tokens of a training pass. Diverged when its loss is no finite number, before any weight follows it."""
    if trainer.model.training:
        numbers.tokens += int(inputs["attention_mask"].sum())
        refuse_broken(trainer.state.global_step + 1, float(loss.detach()), "loss")


def keep_reference(model: Any, *, is_base: bool) -> None:
    """TRL has put a copy of the adapter, "ref", beside it. A new adapter changes nothing yet, so that its reference is
    the base alone: the copy goes. Else the copy takes the dtype of the adapter, so that both compute the same.
    """
    if is_base:
        model.delete_adapter("ref")
        return
    with torch.no_grad():
        for name, parameter in list(model.named_parameters()):
            if ".default." in name:
                copy = model.get_parameter(name.replace(".default.", ".ref."))
                copy.data = parameter.detach().clone()
                copy.requires_grad_(False)


class TrlValidation:
    """Loss and metrics of the val split, as TRL computes them, computed and reported once for a step."""

    def __init__(self, job: TrainingJob, rows: Sequence[Row], logged: Mapping[str, str]) -> None:
        self._job, self._rows, self._logged = job, rows, logged
        self.trainer: Any = None
        self._step = 0
        self._loss: float | None = None

    @torch.no_grad()
    def loss(self, step: int) -> float | None:
        """The mean loss after `step` steps; None when there is nothing to validate on."""
        if not self._rows or step == self._step:
            return self._loss
        trainer, size = self.trainer, self._job.config.batch_size
        sums: dict[str, tuple[float, int]] = {}
        with packing.evaluating(trainer.model):
            for at in range(0, len(self._rows), size):
                part = self._rows[at : at + size]
                batch = trainer._prepare_inputs(trainer.data_collator(list(part)))
                values = {"val_loss": float(trainer.compute_loss(trainer.model, batch))}
                seen = trainer._metrics["eval"]  # some are there only for a batch with rows of both kinds
                values |= {f"val_{name}": seen[theirs][-1] for theirs, name in self._logged.items() if seen.get(theirs)}
                seen.clear()
                for name, value in values.items():
                    before, rows = sums.get(name, (0.0, 0))
                    sums[name] = before + value * len(part), rows + len(part)
        means = {name: value / rows for name, (value, rows) in sums.items()}
        self._step, self._loss = step, means["val_loss"]
        self._job.reporter.metrics(step, dict(means))
        return self._loss
