"""Supervised fine-tuning on packed rows: exact losses over trained tokens only.

SFT sits on transformers' Trainer, because packing replaces everything that TRL's SFTTrainer adds to it (preparing the
data set, collating, the loss, a model card). The other objectives sit on TRL's trainers (trl.py); how a run is saved,
continued and ended is shared.py's for all of them, since each is a Trainer underneath.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, set_seed

from engine.models.chat_template import ChatTemplate, Example
from engine.training.activations import PACK_TOKENS
from engine.training.config import TrainConfig
from engine.training.estimate import estimate, machine, total_steps
from engine.training.model_facts import model_facts
from engine.training.preflight import judge, template_of, tokenise
from engine.training.worker import error_messages, fused, loading, packing, rate_trial, recovery, sharding
from engine.training.worker.callbacks import RunCallback, StepNumbers, refuse_broken
from engine.training.worker.contracts import Diverged, Outcome, Reporter, TrainingJob
from engine.training.worker.loading import Loaded
from engine.training.worker.methods import ADAPTERS
from engine.training.worker.objectives import shared
from engine.training.worker.objectives.shared import RunTrainer
from engine.training.worker.pace import Pace
from engine.training.worker.packing import Pack, Packer
from engine.training.worker.ranks import ALONE, Ranks, zeros_for_missing
from engine.training.worker.recovery import Passes
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
    pace = Pace(job, estimate(config, found, model_facts(job.base_folder), machine()))
    where = loading.device()
    say(f"Loading the base model ({config.method}, {where}, {torch.get_num_threads()} threads)", phase="loading")
    set_seed(config.seed)
    recovery.begin(job)
    loaded = loading.load(config, job.base_folder, where)
    for note in loaded.notes:
        say(note)
    packer = choose_packer(config, loaded, template, job.reporter)
    job.ranks.require_same(_facts(loaded))
    packer.remember(job, loaded.model)
    if where == "cpu" and not config.shard:  # what is fused keeps whole weights
        say(fuse(loaded, packer))
    pace.ready()
    total = total_steps(config, len(rows.train))
    train_rows = list(rows.train.values())
    asks = job.ranks.first and (config.rehearsal or config.drift)
    own = OwnAnswers(job, loaded.model, template, str(loaded.dtype)) if asks else None
    if many := config.rehearsed(len(train_rows)):
        train_rows += job.ranks.from_first(lambda: own.to_rehearse(many) if own else [])
    measured_rows = list(own.to_measure()) if own and config.drift else []
    if config.shard:  # no process can measure without the others
        measured_rows = job.ranks.from_first(lambda: measured_rows)
    drift = Drift(loaded.model, where, packer(measured_rows)) if measured_rows else None
    val_rows = list(rows.val.values())
    shared.begin(job, loaded)  # after the base's own answers, before any step
    rate = job.ranks.from_first(lambda: rate_trial.rate_of(job, loaded.model, where, packer, train_rows, val_rows))
    if config.shard:
        sharding.shard(loaded.model, where, job.ranks.world)
    val_packs = packer.spread(val_rows, job.ranks.world) if val_rows else []
    validation = Validation(loaded.model, where, val_packs, job.reporter, job.ranks, config.shard)
    say(f"Training on {len(rows.train)} rows, {found.trained_tokens:,} trained tokens", phase="training")
    measured_on = list((rows.val or rows.train).values())
    trainable = [weight for weight in loaded.model.parameters() if weight.requires_grad]
    first = [weight.detach().clone() for weight in trainable]

    def attempt(job: TrainingJob) -> Outcome:
        peak = rate * recovery.rate_factor(job)
        watcher = Watcher(job, loaded.model, template, total, validation.loss, drift)
        trainer = SftTrainer(job, loaded, packer, train_rows, validation, watcher, total, peak, pace)
        shared.announce(job, loaded, total, peak)
        return shared.train_to_end(trainer, job, loaded, template, watcher, total, packer, measured_on, pace)

    try:
        return attempt(job)
    except Diverged as error:
        again = recovery.go_back(job, error)
    set_seed(config.seed)
    with torch.no_grad():
        for weight, value in zip(trainable, first, strict=True):
            weight.copy_(value)
    return attempt(again)


def _facts(loaded: Loaded) -> dict[str, Any]:
    """What must be the same in every process of a run for their steps to be."""
    weights = [weight for weight in loaded.model.parameters() if weight.requires_grad]
    return {
        "PyTorch": torch.__version__,
        "device": loaded.device,
        "number format": str(loaded.dtype),
        "attention": loaded.model.get_base_model().config._attn_implementation,
        "new adapter": sum(weight.detach().double().abs().sum().item() for weight in weights),
    }


def choose_packer(config: TrainConfig, loaded: Loaded, template: ChatTemplate, reporter: Reporter) -> Passes:
    """Prefix-tree packing if this model, tried out, honours its mask and positions; else padded batches."""
    limit = PACK_TOKENS[loaded.device]
    base = loaded.model.get_base_model()
    if config.packing == "shared-prefix" and not config.neftune:  # noise depends on the length of a row
        own = base.config._attn_implementation
        packing.register()
        for attention in ([packing.ATTENTION] if loaded.device == "cpu" else []) + [own]:
            base.set_attn_implementation(attention)
            if packing.agrees(loaded.model, base.config.get_text_config().vocab_size, loaded.dtype):
                return Passes(lambda rows, most: packing.pack_shared(rows, most, loaded.dtype), limit)
        reporter.say("This model takes no packed rows; they are padded instead, which is slower.", level="warning")
    return Passes(lambda rows, most: packing.pack_padded(rows, most, template.pad_id), limit)


def fuse(loaded: Loaded, packer: Packer) -> str:
    """Fuse what can be fused of the model, and take its losses in chunks; returns a sentence for the log."""
    packs = packer(packing.trial(loaded.model.config.get_text_config().vocab_size))
    packing.chunk_losses(loaded.model, packs[0], loaded.dtype)
    if any(p.requires_grad and ".lora_" not in name for name, p in loaded.model.named_parameters()):
        return "Nothing is fused: that is for factors beside frozen weights."
    return fused.put_on(loaded.model, loaded.dtype, packs)


class Validation:
    """The mean loss of the val split's trained tokens, computed and reported once for a step. Several processes share
    the passes."""

    def __init__(
        self,
        model: Any,
        device: str,
        packs: Sequence[Pack],
        reporter: Reporter,
        ranks: Ranks = ALONE,
        sharded: bool = False,
    ) -> None:
        self._model, self._device, self._packs, self._reporter = model, device, packs, reporter
        self._ranks, self._sharded = ranks, sharded
        self._step, self._loss = 0, None

    @torch.no_grad()
    def loss(self, step: int) -> float | None:
        """The loss after `step` steps; None when there is nothing to validate on."""
        if not self._packs or step == self._step:
            return self._loss
        with packing.evaluating(self._model):
            mine = _mine(self._packs, self._ranks, self._sharded)
            losses = [
                counts * packing.loss_sum(self._model, packing.to_device(p, self._device)).item() for p, counts in mine
            ]
        total = torch.tensor([sum(losses)], dtype=torch.float64)
        self._ranks.add([total])
        self._step, self._loss = step, total.item() / sum(pack.trained for pack in self._packs)
        self._reporter.metrics(step, {"val_loss": self._loss})
        return self._loss


def _packed(packer: Passes, rows: Sequence[Example], batch: int, over: int = 1) -> list[Pack]:
    """The passes of a step, each with rows of one batch: for several processes at least `over`, the largest first."""
    batches = [rows[at : at + batch] for at in range(0, len(rows), batch)]
    packs = [pack for each in batches for pack in packer.spread(each, -(-over // len(batches)))]
    return packs if over == 1 else sorted(packs, key=lambda pack: -pack.computed)


def _mine(packs: Sequence[Pack], ranks: Ranks, sharded: bool) -> list[tuple[Pack, float]]:
    """This process's share of some passes, each with what its loss counts. On a sharded model all processes compute
    equally often, as the weights of each layer come from all of them: one that has a pass less repeats the last one for
    nothing.

    >>> packs = ["a", "b", "c"]
    >>> _mine(packs, Ranks(1, 2), False), _mine(packs, Ranks(1, 2), True)
    ([('b', 1.0)], [('b', 1.0), ('c', 0.0)])
    """
    mine = [(pack, 1.0) for pack in ranks.share(packs)]
    idle = -(-len(packs) // ranks.world) - len(mine) if sharded else 0
    return mine + [(packs[-1], 0.0)] * idle


class RowNumbers(Dataset[int]):
    """A data set of the numbers 0 to n - 1: the sampler shuffles numbers, and the collator packs the rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, number: int) -> int:
        return number


class SftTrainer(RunTrainer, Trainer):
    """A Trainer whose batches are packs. A step takes `accumulation` batches of `batch_size` rows in as many passes
    as they need, and divides by the trained tokens of all of them: as one large batch would."""

    def __init__(
        self,
        job: TrainingJob,
        loaded: Loaded,
        packer: Passes,
        train: Sequence[Example],
        validation: Validation,
        watcher: Watcher,
        total: int,
        rate: float,
        pace: Pace | None = None,
    ) -> None:
        config = job.config
        self._job, self._packer = job, packer
        self._numbers = numbers = StepNumbers()
        self.measure_loss = validation.loss
        self.run = RunCallback(job, numbers, total, validation.loss, watcher, pace=pace)
        optimizer, scheduler, self.curve = shared.optimizer_of(job, loaded, total, rate)
        super().__init__(
            model=loaded.model,
            args=shared.plain_arguments(
                job,
                loaded,
                total,
                per_device_train_batch_size=config.step_rows,
                neftune_noise_alpha=config.neftune or None,
            ),
            train_dataset=RowNumbers(len(train)),
            data_collator=lambda picked: {"rows": [train[number] for number in picked]},
            optimizers=(optimizer, scheduler),
            callbacks=[*ADAPTERS[config.method].callbacks(loaded.model, total), self.run],
        )
        self.remove_callback(PrinterCallback)
        if self.args.gradient_checkpointing:
            loaded.model.enable_input_require_grads()  # else no gradient would reach an adapter through the frozen base

    def training_step(
        self, model: Any, inputs: Mapping[str, Sequence[Example]], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Backward over all packs of the step's rows; returns the mean loss of their trained tokens."""
        model.train()
        rows, step, ranks = inputs["rows"], self.state.global_step + 1, self._job.ranks
        ranks.vary_noise(self._job.config.seed, step)
        while True:
            packs = _packed(self._packer, rows, self._job.config.batch_size, ranks.world)
            failed: BaseException | None = None
            try:
                total = self._backward(model, packs)
            except (RuntimeError, MemoryError) as error:
                if not error_messages.is_out_of_memory(error) or self._job.config.shard:
                    raise  # within a step of a sharded model the others wait for this process
                failed = error.with_traceback(None)  # the frames hold what is to be freed
            if not ranks.any(failed is not None):
                break
            model.zero_grad()
            if not self._packer.smaller(self._job, model, rows, step):
                raise failed or MemoryError("Another process of the run is out of memory.")
        if self._job.config.shard:
            ranks.add([total])  # gradients are added up on their way back
        elif ranks.world > 1:
            trained = [weight for weight in model.parameters() if weight.requires_grad]
            ranks.add([*zeros_for_missing(trained), total])
        refuse_broken(step, total.item(), "loss")
        self._numbers.tokens = sum(pack.real for pack in packs)
        return total

    def _backward(self, model: Any, packs: Sequence[Pack]) -> torch.Tensor:
        """Backward over this process's share of a step's packs, by the trained tokens of all of them."""
        trained = sum(pack.trained for pack in packs)
        total = torch.zeros((), device=self.args.device)
        for pack, counts in _mine(packs, self._job.ranks, self._job.config.shard):
            loss = packing.loss_sum(model, packing.to_device(pack, self.args.device)) * counts / trained
            self.accelerator.backward(loss)
            total += loss.detach()
        return total
