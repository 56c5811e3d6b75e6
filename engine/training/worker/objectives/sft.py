"""Supervised fine-tuning on packed rows: exact losses over trained tokens only.

SFT sits on transformers' Trainer, because packing replaces everything that TRL's SFTTrainer adds to it (preparing the
data set, collating, the loss, a model card); DPO, KTO, reward models and GRPO belong on TRL's trainers, whose losses we
want, and share the callback, the adapter files and the optimizer with SFT, since each of them is a Trainer underneath.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from engine.core.files import is_disk_full
from engine.models.chat_template import ChatTemplate, Example
from engine.models.saved_files import manifest_of
from engine.training.activations import PACK_TOKENS
from engine.training.config import TrainConfig
from engine.training.estimate import total_steps
from engine.training.preflight import judge, template_of, tokenise
from engine.training.worker import adapter_files, checkpoints, four_bit, loading, packing, rate_trial
from engine.training.worker.callbacks import RunCallback, StepNumbers, refuse_broken
from engine.training.worker.contracts import Outcome, Reporter, TrainingJob
from engine.training.worker.loading import Loaded
from engine.training.worker.methods import ADAPTERS
from engine.training.worker.optim import optimizer_of, schedule
from engine.training.worker.packing import Pack, Packer
from engine.training.worker.rehearsal import OwnAnswers
from engine.training.worker.watching import Drift, Watcher


def train(job: TrainingJob) -> Outcome:
    """Train to the end or to a wanted stop. Raises BadInput, Conflict, Unsupported or WorkerError."""
    config, say = job.config, job.reporter.say
    template = template_of(job.base_folder, config)
    rows = tokenise(job.rows, template, config)
    found = judge(job.rows, rows, template, config).require()
    for note in found.notes:
        say(note, level="warning")
    where = loading.device()
    say(f"Loading the base model ({config.method}, {where}, {torch.get_num_threads()} threads)", phase="loading")
    set_seed(config.seed)
    loaded = loading.load(config, job.base_folder, where)
    for note in loaded.notes:
        say(note)
    packer = choose_packer(config, loaded, template, job.reporter)
    total = total_steps(config, len(rows.train))
    train_rows = list(rows.train.values())
    own = OwnAnswers(job, loaded.model, template, str(loaded.dtype)) if config.rehearsal or config.drift else None
    if own and (many := config.rehearsed(len(train_rows))):
        train_rows += own.to_rehearse(many)
    drift = Drift(loaded.model, where, packer(own.to_measure())) if own and config.drift else None
    val_rows = list(rows.val.values())
    rate = rate_trial.rate_of(job, loaded.model, where, packer, train_rows, val_rows)
    validation = Validation(loaded.model, where, packer(val_rows) if val_rows else [], job.reporter)
    watcher = Watcher(job, loaded.model, template, total, validation.loss, drift)
    trainer = SftTrainer(job, loaded, packer, train_rows, validation, watcher, total, rate)
    facts = loading.environment() | {"device": where, "dtype": str(loaded.dtype).removeprefix("torch.")}
    job.reporter.total(total, facts)
    say(f"Training on {len(rows.train)} rows, {found.trained_tokens:,} trained tokens", phase="training")
    _say_schedule(job, total, rate)
    trainer.train(resume_from_checkpoint=str(job.resume_from) if job.resume_from else None)
    step = trainer.state.global_step
    measured_on = list((rows.val or rows.train).values())
    if trainer.run.stopped:
        four_bit.settle(job, loaded, packer, measured_on)
        return Outcome(checkpoints.saved(job.out / "checkpoints")[-1][1], "stopped", step)
    validation.loss(step)
    watcher.say_cost()
    say("Saving the adapter", phase="saving")
    if watcher.best_step(step) != step:
        trainer.keep_end(job)  # before other weights are put into the model
        adapter = adapter_files.finish(loaded.model, job, template, watcher.take_best(step), total)
    else:
        adapter = adapter_files.finish(loaded.model, job, template, step, total)
        trainer.keep_end(job)
    watcher.forget_best()
    shutil.rmtree(str(trainer.args.output_dir), ignore_errors=True)
    four_bit.settle(job, loaded, packer, measured_on)
    return Outcome(adapter, "succeeded", step)


def _say_schedule(job: TrainingJob, total: int, peak: float) -> None:
    """Say at which rate a run continues whose steps have become more: its schedule spans all of them from then on."""
    before = manifest_of(job.resume_from) if job.resume_from else {}
    if before.get("total_steps", total) == total:
        return
    config, step = job.config, int(before["step"])
    rate = peak * schedule(config.scheduler, round(config.warmup * total), total)(step)
    job.reporter.say(
        f"The run has {total} steps now instead of {before['total_steps']}. Step {step + 1} takes the learning rate"
        f" {rate:.3g}: that of the {config.scheduler} schedule over all {total} steps."
    )


def choose_packer(config: TrainConfig, loaded: Loaded, template: ChatTemplate, reporter: Reporter) -> Packer:
    """Prefix-tree packing if this model, tried out, honours its mask and positions; else padded batches."""
    limit = PACK_TOKENS[loaded.device]
    base = loaded.model.get_base_model()
    if config.packing == "shared-prefix" and not config.neftune:  # noise depends on the length of a row
        own = base.config._attn_implementation
        packing.register()
        for attention in ([packing.ATTENTION] if loaded.device == "cpu" else []) + [own]:
            base.set_attn_implementation(attention)
            if packing.agrees(loaded.model, base.config.get_text_config().vocab_size, loaded.dtype):
                return lambda rows: packing.pack_shared(rows, limit, loaded.dtype)
        reporter.say("This model takes no packed rows; they are padded instead, which is slower.", level="warning")
    return lambda rows: packing.pack_padded(rows, limit, template.pad_id)


class Validation:
    """The mean loss of the val split's trained tokens, computed and reported once for a step."""

    def __init__(self, model: Any, device: str, packs: Sequence[Pack], reporter: Reporter) -> None:
        self._model, self._device, self._packs, self._reporter = model, device, packs, reporter
        self._step, self._loss = 0, None

    @torch.no_grad()
    def loss(self, step: int) -> float | None:
        """The loss after `step` steps; None when there is nothing to validate on."""
        if not self._packs or step == self._step:
            return self._loss
        with packing.evaluating(self._model):
            losses = [packing.loss_sum(self._model, packing.to_device(p, self._device)).item() for p in self._packs]
        self._step, self._loss = step, sum(losses) / sum(pack.trained for pack in self._packs)
        self._reporter.metrics(step, {"val_loss": self._loss})
        return self._loss


def _packed(packer: Packer, rows: Sequence[Example], batch: int) -> list[Pack]:
    """The passes of a step, each with rows of one batch."""
    return [pack for at in range(0, len(rows), batch) for pack in packer(rows[at : at + batch])]


class RowNumbers(Dataset[int]):
    """A data set of the numbers 0 to n - 1: the sampler shuffles numbers, and the collator packs the rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, number: int) -> int:
        return number


class SftTrainer(Trainer):
    """A Trainer whose batches are packs. A step takes `accumulation` batches of `batch_size` rows in as many passes
    as they need, and divides by the trained tokens of all of them: as one large batch would."""

    def __init__(
        self,
        job: TrainingJob,
        loaded: Loaded,
        packer: Packer,
        train: Sequence[Example],
        validation: Validation,
        watcher: Watcher,
        total: int,
        rate: float,
    ) -> None:
        config, numbers = job.config, StepNumbers()
        self._job, self._numbers = job, numbers
        self._validation = validation
        self.run = RunCallback(job, numbers, total, validation.loss, watcher)
        optimizer = optimizer_of(config, loaded.model, rate)
        self._curve = curve = schedule(config.scheduler, round(config.warmup * total), total)
        super().__init__(
            model=loaded.model,
            args=_arguments(job, loaded, total),
            train_dataset=RowNumbers(len(train)),
            data_collator=lambda picked: {"packs": _packed(packer, [train[at] for at in picked], config.batch_size)},
            optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, curve)),
            callbacks=[*ADAPTERS[config.method].callbacks(loaded.model, total), self.run],
        )
        self.remove_callback(PrinterCallback)
        if self.args.gradient_checkpointing:
            loaded.model.enable_input_require_grads()  # else no gradient would reach an adapter through the frozen base

    def training_step(
        self, model: Any, inputs: Mapping[str, Sequence[Pack]], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Backward over all packs; returns the mean loss of the step's trained tokens."""
        model.train()
        packs = inputs["packs"]
        trained = sum(pack.trained for pack in packs)
        total = torch.zeros((), device=self.args.device)
        for pack in packs:
            loss = packing.loss_sum(model, packing.to_device(pack, self.args.device)) / trained
            self.accelerator.backward(loss)
            total += loss.detach()
        refuse_broken(self.state.global_step + 1, total.item(), "loss")
        self._numbers.tokens = sum(pack.real for pack in packs)
        return total

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        adapter_files.write(self.model, Path(str(output_dir or self.args.output_dir)))

    def keep_end(self, job: TrainingJob) -> None:
        """Save the state at the end as checkpoints/end, from which the run can be continued for more steps.

        It is no checkpoint to choose: its weights are the finished adapter's. Without space the run is as good as done.
        """
        step, folder = self.state.global_step, job.out / "checkpoints"
        try:
            self._save_checkpoint(self.model, None)
            made = Path(str(self.args.output_dir)) / f"checkpoint-{step}"
            adapter_files.seal(made, job, step, step, self._validation.loss(step), converted=False)
            checkpoints.place(made, folder / checkpoints.END)
        except (OSError, RuntimeError) as error:
            if not is_disk_full(error):
                raise
            shutil.rmtree(folder / checkpoints.END, ignore_errors=True)
            text = "The disk is full: the state at the end was not kept, so the run cannot be continued for more steps."
            job.reporter.say(text, level="warning")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """As saved, but for the next step's rate: in a run with more steps it follows the schedule over all of them."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint:
            share = self._curve(self.lr_scheduler.last_epoch)
            rates = [peak * share for peak in self.lr_scheduler.base_lrs]
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            self.lr_scheduler._last_lr = rates  # what is reported

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        adapter_files.read(self.model, Path(resume_from_checkpoint))


def _arguments(job: TrainingJob, loaded: Loaded, total: int) -> TrainingArguments:
    config = job.config
    return TrainingArguments(
        output_dir=str(job.out / "checkpoints" / ".part"),
        per_device_train_batch_size=config.step_rows,
        max_steps=total,
        max_grad_norm=config.max_grad_norm,
        neftune_noise_alpha=config.neftune or None,
        seed=config.seed,
        data_seed=config.seed,
        bf16=False,  # the weights are in the compute dtype already; autocast would only add casts
        gradient_checkpointing=loading.needs_checkpointing(loaded, config),
        use_cpu=loaded.device == "cpu",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
