"""TRL's SFTTrainer on packed rows: exact losses over trained tokens only, our optimizer, our checkpoints.
`run` takes a job from its rows to its adapter folder; loading, packing and manifests are their own modules'."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1", DO_NOT_TRACK="1")  # the base is on this machine

import torch
from datasets import Dataset
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoTokenizer, PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from engine.models.chat_template import FILES, ChatTemplate, Example
from engine.training.config import TrainConfig
from engine.training.estimate import total_steps
from engine.training.preflight import check
from engine.training.worker import checkpoints, loading, packing
from engine.training.worker.callbacks import Pulse, RunCallback, refuse_broken
from engine.training.worker.contracts import Job, Outcome
from engine.training.worker.loading import Loaded
from engine.training.worker.optim import MasterAdamW, schedule
from engine.training.worker.packing import Pack, Packer
from store.errors import TuningforkError

_PACK_TOKENS = {"cpu": 512, "cuda": 4096}
"""Attention in a pack costs its length squared; on the CPU products gain nothing from more than some hundred rows."""
_VAL_TIMES = 5


def run(job: Job) -> Outcome:
    """Train to the end or to a wanted stop. Raises BadInput, Conflict, Unsupported or WorkerError."""
    config, say = job.config, job.reporter.say
    threads = loading.set_up_process(config.threads)
    loading.quiet()
    if job.resume_from:
        step = checkpoints.verify(job.resume_from, config, job.rows)
        say(f"Resuming from step {step}", phase="loading", step=step)
    template = ChatTemplate.load(job.base_folder)
    found = check(job.rows, template, config).require()
    for note in found.notes:
        say(note, level="warning")
    where = loading.device()
    say(f"Loading the base model ({config.method}, {where}, {threads} threads)", phase="loading")
    set_seed(config.seed)
    loaded = loading.load(config, job.base_folder, where)
    for note in loaded.notes:
        say(note)
    train, val = (_examples(job, template, split) for split in ("train", "val"))
    packer = choose_packer(config, loaded, template, job)
    total = total_steps(config, len(train))
    trainer = Tuner(job, loaded, template, packer, train, val, total)
    facts = loading.environment() | {"device": where, "dtype": str(loaded.dtype).removeprefix("torch.")}
    job.reporter.total(total, facts)
    say(f"Training on {len(train)} rows, {found.trained_tokens:,} trained tokens", phase="training")
    trainer.train(resume_from_checkpoint=str(job.resume_from) if job.resume_from else None)
    step = trainer.state.global_step
    if trainer.stopped:
        return Outcome(checkpoints.saved(job.out / "checkpoints")[-1][1], "stopped", step)
    return Outcome(trainer.keep_adapter(), "succeeded", step)


def choose_packer(config: TrainConfig, loaded: Loaded, template: ChatTemplate, job: Job) -> Packer:
    """Prefix-tree packing if this model, tried out, heeds its mask and positions; else padded batches."""
    limit = _PACK_TOKENS[loaded.device]
    base = loaded.model.get_base_model()
    if config.packing == "shared-prefix":
        own = base.config._attn_implementation
        packing.register()
        for attention in ([packing.ATTENTION] if loaded.device == "cpu" else []) + [own]:
            base.set_attn_implementation(attention)
            if packing.agrees(loaded.model, base.config.get_text_config().vocab_size, loaded.dtype):
                return lambda rows: packing.pack_shared(rows, limit, loaded.dtype)
        job.reporter.say("This model takes no packed rows; they are padded instead, which is slower.", level="warning")
    return lambda rows: packing.pack_padded(rows, limit, template.pad_id)


class Tuner(SFTTrainer):
    """SFTTrainer whose batches are packs. A step takes `batch_size` rows in as many passes as they need."""

    optimizer: torch.optim.Optimizer | None
    lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None

    def __init__(
        self,
        job: Job,
        loaded: Loaded,
        template: ChatTemplate,
        packer: Packer,
        train: Sequence[Example],
        val: Sequence[Example],
        total: int,
    ) -> None:
        self._job, self._template, self._packer, self._total = job, template, packer, total
        self._val = packer(val) if val else []
        self._val_at = (0, None)
        self._pulse = Pulse()
        self._watch = RunCallback(job.reporter, self._pulse, job.config.save_every, total)
        super().__init__(
            model=loaded.model,
            args=_arguments(job, loaded, total),
            train_dataset=Dataset.from_dict({"row": list(range(len(train)))}),
            data_collator=lambda picked: {"packs": packer([train[item["row"]] for item in picked])},
            processing_class=AutoTokenizer.from_pretrained(job.base_folder, trust_remote_code=False),
            callbacks=[self._watch],
        )
        self.remove_callback(PrinterCallback)

    @property
    def stopped(self) -> bool:
        """Whether a stop was wanted, and followed, before the end."""
        return self._watch.stopped

    # --- one step ------------------------------------------------------------------------------------------------

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
        self._pulse.tokens = sum(pack.real for pack in packs)
        return total

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with float32 masters over the adapter."""
        if self.optimizer is None:
            trainable = [p for p in self.model.parameters() if p.requires_grad]
            self.optimizer = MasterAdamW(trainable, lr=self.args.learning_rate, weight_decay=self.args.weight_decay)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> torch.optim.lr_scheduler.LRScheduler:
        """The configuration's curve. Unlike transformers' own it does not spend the first step at a rate of zero."""
        if self.lr_scheduler is None:
            config = self._job.config
            curve = schedule(config.scheduler, round(config.warmup * num_training_steps), num_training_steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, curve)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the guess for whole rows says nothing about packs."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """After the step's own numbers comes the validation loss, a few times in a run."""
        super().log(logs, start_time)
        step = self.state.global_step
        if "loss" in logs and (step % max(1, self._total // _VAL_TIMES) == 0 or step == self._total):
            self.val_loss()

    @torch.no_grad()
    def val_loss(self) -> float | None:
        """Mean loss of the val split's trained tokens, reported once a step; None when there are no such rows."""
        step, known = self._val_at
        if not self._val or step == self.state.global_step:
            return known
        self.model.eval()
        losses = [packing.loss_sum(self.model, packing.to_device(pack, self.args.device)).item() for pack in self._val]
        self.model.train()
        value = sum(losses) / sum(pack.trained for pack in self._val)
        self._val_at = (self.state.global_step, value)
        self._job.reporter.metrics(self.state.global_step, {"val_loss": value})
        return value

    # --- what stays ---------------------------------------------------------------------------------------------------

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """No card for a checkpoint: exports write one that says something."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        _write_adapter(self.model, Path(output_dir or self.args.output_dir))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint appears at checkpoints/step-N when all of it is on the disk and hashed."""
        step, folder = self.state.global_step, self._job.out / "checkpoints"
        val_loss = self.val_loss()
        super()._save_checkpoint(model, trial)
        made = Path(self.args.output_dir) / f"checkpoint-{step}"
        files = self._seal(made)
        final = folder / f"step-{step}"
        checkpoints.place(made, final)
        self._job.reporter.checkpoint(step, final, files, val_loss)
        self._job.reporter.say(f"Saved a checkpoint at step {step}", step=step)
        for gone in checkpoints.prune(folder, self._job.config.keep_checkpoints):
            self._job.reporter.pruned(gone)

    def keep_adapter(self) -> Path:
        """Write the finished adapter, with everything needed to use it, to out/adapter; returns that folder."""
        self.val_loss()
        self._job.reporter.say("Saving the adapter", phase="saving")
        part, final = self._job.out / "adapter.part", self._job.out / "adapter"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        _write_adapter(self.model, part)
        for name in FILES:
            if (self._job.base_folder / name).is_file():
                shutil.copyfile(self._job.base_folder / name, part / name)
        (part / "chat_template.jinja").write_text(self._template.source, "utf-8")
        self._seal(part)
        checkpoints.place(part, final)
        shutil.rmtree(self.args.output_dir, ignore_errors=True)
        return final

    def _seal(self, folder: Path) -> checkpoints.Files:
        """Add the adapter in llama.cpp's format, so that chat starts at once, and the manifest."""
        _convert(folder, self._job)
        facts = checkpoints.facts(self._job.config, self._job.rows, self.state.global_step, self._total)
        return checkpoints.seal(folder, facts)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The adapter's weights as they were saved; PEFT's own loader would change their dtype."""
        weights = load_file(Path(resume_from_checkpoint) / "adapter_model.safetensors")
        set_peft_model_state_dict(self.model, weights)


def _arguments(job: Job, loaded: Loaded, total: int) -> SFTConfig:
    config = job.config
    return SFTConfig(
        output_dir=str(job.out / "checkpoints" / ".part"),
        per_device_train_batch_size=config.batch_size,
        max_steps=total,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        data_seed=config.seed,
        bf16=False,  # the weights are in the compute dtype already; autocast would only add casts
        gradient_checkpointing=loading.needs_checkpointing(loaded, _PACK_TOKENS[loaded.device], config.max_length),
        use_cpu=loaded.device == "cpu",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )


def _examples(job: Job, template: ChatTemplate, split: str) -> list[Example]:
    return [template.example(row.messages, job.config.max_length) for row in job.rows if row.split == split]


def _write_adapter(model: Any, folder: Path) -> None:
    """PEFT's two files, the same bytes for the same weights. Its readme, an empty form, is left out."""
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # PEFT keeps a set
    path.write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")


def _convert(folder: Path, job: Job) -> None:
    """adapter.gguf beside the adapter. What cannot be converted can still be chatted with through transformers."""
    from engine.gguf.adapter import convert

    try:
        convert(folder, job.base_folder, folder / "adapter.gguf")
    except (TuningforkError, ValueError, KeyError) as error:
        what = error.what if isinstance(error, TuningforkError) else str(error)
        job.reporter.say(f"The adapter was not converted for llama.cpp: {what}", level="warning")
