"""DPO on TRL's DPOTrainer: engine.training.objectives.dpo names the loss and the papers.
The reference is the model that the run starts from: the base for a new adapter, else a frozen copy of that adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from engine.training.judged import Contrast, check_preferences, contrasts
from engine.training.preflight import template_of
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.objectives import trl
from engine.training.worker.objectives.shared import RunTrainer
from engine.training.worker.objectives.trl import Row, Setup, Work

LOGGED = {"rewards/accuracies": "accuracy", "rewards/margins": "margin"}


def train(job: TrainingJob) -> Outcome:
    """Train to the end or to a wanted stop. Raises BadInput, Conflict, Unsupported or WorkerError."""
    template = template_of(job.base_folder, job.config)
    found = check_preferences(job.rows, template, job.config).require()
    both = contrasts(job.rows, template, job.config)
    train, val = ([row_of(each) for each in both[split].values()] for split in ("train", "val"))
    measured_on = [each.chosen for each in (both["val"] or both["train"]).values()]
    work = Work(train, val, measured_on, lambda setup: DpoTrainer(setup, train), LOGGED)
    return trl.train(job, template, found, work)


def row_of(each: Contrast) -> Row:
    """The tokens of a preference under the names of TRL's collator."""
    prompt = each.prompt
    return {
        "prompt_ids": each.chosen.ids[:prompt],
        "chosen_ids": each.chosen.ids[prompt:],
        "rejected_ids": each.rejected.ids[prompt:],
    }


class DpoTrainer(RunTrainer, DPOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer on rows that are tokens already, with our optimizer, callback and files."""

    def __init__(self, setup: Setup, rows: list[Row]) -> None:
        setup.prepare(self)
        self._numbers = setup.numbers
        config = setup.job.config
        super().__init__(
            args=DPOConfig(**setup.arguments, beta=config.beta, loss_type=[config.dpo_loss], max_length=None),
            train_dataset=Dataset.from_list(rows),
            **setup.options,
        )
        trl.keep_reference(self.model, is_base=setup.job.start is None)

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        trl.count_and_check(self, self._numbers, inputs, loss)
        return loss
