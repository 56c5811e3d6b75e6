"""What the trainers of all objectives have in common: the files that a run leaves, how it continues, how it ends.
Nothing here knows an objective's data or loss."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from engine.core.files import is_disk_full
from engine.models.chat_template import ChatTemplate, Example
from engine.models.saved_files import manifest_of
from engine.training.worker import adapter_files, checkpoints, four_bit, loading, optim, recovery, sharding
from engine.training.worker.callbacks import RunCallback
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.loading import Loaded
from engine.training.worker.optim import schedule
from engine.training.worker.pace import Pace
from engine.training.worker.packing import Packer
from engine.training.worker.watching import Watcher

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object


class RunTrainer(_Trainer):
    """For a Trainer of transformers or TRL to inherit from first: how it saves and restores a run.

    The trainer sets `run`, `curve` (the share of the highest learning rate at each step) and `measure_loss`
    (the validation loss after a step) before it calls Trainer's own __init__.
    """

    run: RunCallback
    curve: Callable[[int], float]
    measure_loss: Callable[[int], float | None]

    patient = True
    """Whether a checkpoint waits for space on a full disk."""
    _weights: dict[str, torch.Tensor] | None = None

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As the trainer does it, in the first process of a run; on a full disk the run pauses. The others give it
        their part of what is sharded."""
        first = self.run.job.ranks.first
        made = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        save = super()._save_checkpoint
        with self._whole(first):
            if first and self.patient:
                recovery.write_patiently(self.run.job, made, lambda: save(model, trial))
            elif first:
                save(model, trial)

    @contextlib.contextmanager
    def _whole(self, keep: bool) -> Iterator[None]:
        """While inside, weights and optimizer state are whole in processes that `keep` them."""
        self._weights = sharding.trained_weights(self.model, keep)
        optimizer: Any = getattr(self.optimizer, "optimizer", self.optimizer)  # accelerate wraps it
        try:
            with contextlib.nullcontext() if self._weights is None else optimizer.gathered(keep):
                yield
        finally:
            self._weights = None

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        adapter_files.write(self.model, Path(str(output_dir or self.args.output_dir)), self._weights)

    def create_model_card(self, *args: Any, **named: Any) -> None:
        """TRL's own card is not kept: exports write one."""

    def save_now(self) -> None:
        """Save a checkpoint of the last finished step, where there is none: a step that began is not going to end."""
        step, folder = self.state.global_step, self.run.job.out / "checkpoints"
        if step and step not in [at for at, _ in checkpoints.saved(folder)]:
            self._save_checkpoint(self.model, None)
            self.run.on_save(self.args, self.state, self.control)

    def keep_end(self, job: TrainingJob) -> None:
        """Save the state at the end as checkpoints/end, from which the run can be continued for more steps.

        It is no checkpoint to choose: its weights are the finished adapter's. Without space the run is as good as done.
        """
        step, folder = self.state.global_step, job.out / "checkpoints"
        self.patient = False
        try:
            self._save_checkpoint(self.model, None)
            if not job.ranks.first:
                return
            made = Path(str(self.args.output_dir)) / f"checkpoint-{step}"
            adapter_files.seal(made, job, step, step, self.measure_loss(step), converted=False)
            checkpoints.place(made, folder / checkpoints.END)
        except (OSError, RuntimeError) as error:
            if not is_disk_full(error):
                raise
            shutil.rmtree(folder / checkpoints.END, ignore_errors=True)
            text = "The disk is full: the state at the end was not kept, so the run cannot be continued for more steps."
            job.reporter.say(text, level="warning")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """As saved, but for the next step's rate: in a run with more steps it follows the schedule over all of them."""
        peaks = list(self.lr_scheduler.base_lrs)  # of this attempt: a run may have gone back to half its rate
        if checkpoint and sharding.is_sharded(self.model):  # the whole would not fit: a part of each tensor is read
            state = torch.load(Path(checkpoint) / "optimizer.pt", map_location="cpu", mmap=True, weights_only=True)
            self.optimizer.load_state_dict(state)
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))
        else:
            super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint:
            self.lr_scheduler.base_lrs = peaks
            share = self.curve(self.lr_scheduler.last_epoch)
            rates = [peak * share for peak in peaks]
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            self.lr_scheduler._last_lr = rates  # what is reported

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        adapter_files.read(self.model, Path(resume_from_checkpoint))


def optimizer_of(job: TrainingJob, loaded: Loaded, total: int, rate: float) -> tuple[Any, Any, Callable[[int], float]]:
    """The optimizer of the trainable weights, its scheduler, and the scheduler's curve."""
    config = job.config
    optimizer = optim.optimizer_of(config, loaded.model, rate)
    curve = schedule(config.scheduler, round(config.warmup * total), total)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, curve), curve


def arguments(job: TrainingJob, loaded: Loaded, total: int, tokens: int) -> dict[str, Any]:
    """The TrainingArguments of a run, for those of any objective; `tokens` are those of its longest pass."""
    config = job.config
    return {
        "output_dir": str(job.out / "checkpoints" / ".part"),
        "per_device_train_batch_size": config.batch_size,
        "max_steps": total,
        "max_grad_norm": config.max_grad_norm,
        "seed": config.seed,
        "data_seed": config.seed,
        "bf16": False,  # the weights are in the compute dtype already; autocast would only add casts
        "gradient_checkpointing": loading.needs_checkpointing(loaded, config, tokens),
        "use_cpu": loaded.device == "cpu",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    }


def plain_arguments(job: TrainingJob, loaded: Loaded, total: int, **extra: Any) -> TrainingArguments:
    """`arguments` for transformers' own Trainer, with `extra` on top."""
    return TrainingArguments(**arguments(job, loaded, total, job.config.max_length) | extra)


def begin(job: TrainingJob, loaded: Loaded) -> None:
    """Put the weights of the adapter that the run continues into the model; nothing for a new adapter."""
    if job.start is not None:
        adapter_files.begin_from(loaded.model, job.start)
        job.reporter.say(f"Continuing {job.config.on}", phase="loading")


def announce(job: TrainingJob, loaded: Loaded, total: int, peak: float) -> None:
    """Report steps and machine, and say at which rate a run continues whose steps have become more: its schedule spans
    all of them from then on."""
    facts = loading.environment() | {"device": loaded.device, "dtype": str(loaded.dtype).removeprefix("torch.")}
    ranks = job.ranks
    place: dict[str, Any] = {} if ranks.launcher == "local" else {"launcher": ranks.launcher, "processes": ranks.world}
    place |= {"sharded": True} if job.config.shard else {}
    job.reporter.total(total, facts | place)
    before = manifest_of(job.resume_from) if job.resume_from else {}
    if before.get("total_steps", total) == total:
        return
    config, step = job.config, int(before["step"])
    rate = peak * schedule(config.scheduler, round(config.warmup * total), total)(step)
    job.reporter.say(
        f"The run has {total} steps now instead of {before['total_steps']}. Step {step + 1} takes the learning rate"
        f" {rate:.3g}: that of the {config.scheduler} schedule over all {total} steps."
    )


def train_to_end(
    trainer: RunTrainer,
    job: TrainingJob,
    loaded: Loaded,
    template: ChatTemplate,
    watcher: Watcher,
    total: int,
    packer: Packer,
    measured_on: Sequence[Example],
    pace: Pace | None = None,
) -> Outcome:
    """Train, and leave the finished adapter or, after a wanted stop, the last checkpoint.

    In a process beside the first one of a run nothing is left. `measured_on` are rows on which a base in 4 bits is
    measured afterwards; without any it is not. A `pace` says at the end what the run took.
    """

    def settle() -> None:
        if measured_on:
            four_bit.settle(job, loaded, packer, measured_on)

    trainer.train(resume_from_checkpoint=str(job.resume_from) if job.resume_from else None)
    step, ranks = trainer.state.global_step, job.ranks
    if not trainer.run.stopped:
        trainer.measure_loss(step)
    if trainer.run.stopped or not job.config.shard:
        ranks.leave()
        if not ranks.first:
            return Outcome(job.out, "stopped" if trainer.run.stopped else "succeeded", step)
    if trainer.run.stopped:
        settle()
        return Outcome(checkpoints.saved(job.out / "checkpoints")[-1][1], "stopped", step)
    watcher.say_cost()
    job.reporter.say("Saving the adapter", phase="saving")
    if watcher.best_step(step) != step:
        trainer.keep_end(job)  # before other weights are put into the model
        adapter = adapter_files.finish(loaded.model, job, template, watcher.take_best(step), total)
    else:
        adapter = adapter_files.finish(loaded.model, job, template, step, total)
        trainer.keep_end(job)
    if job.config.shard:
        ranks.leave()
        if not ranks.first:
            return Outcome(job.out, "succeeded", step)
    watcher.forget_best()
    shutil.rmtree(str(trainer.args.output_dir), ignore_errors=True)
    if pace is not None:
        pace.end(step, total)
    settle()
    return Outcome(adapter, "succeeded", step)
