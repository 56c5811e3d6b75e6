"""A reward model on TRL's RewardTrainer: engine.training.objectives.reward names the loss and the papers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from engine.training.judged import check_preferences, contrasts
from engine.training.preflight import template_of
from engine.training.worker import loading
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.objectives import trl
from engine.training.worker.objectives.shared import RunTrainer
from engine.training.worker.objectives.trl import Row, Setup, Work

LOGGED = {"accuracy": "accuracy", "margin": "margin"}


def train(job: TrainingJob) -> Outcome:
    """Train to the end or to a wanted stop. Raises BadInput, Conflict, Unsupported or WorkerError."""
    template = template_of(job.base_folder, job.config)
    found = check_preferences(job.rows, template, job.config, whole=True).require()
    both = contrasts(job.rows, template, job.config)
    train, val = (
        [{"chosen_ids": each.chosen.ids, "rejected_ids": each.rejected.ids} for each in both[split].values()]
        for split in ("train", "val")
    )
    work = Work(train, val, (), lambda setup: ScoreTrainer(setup, train), LOGGED)
    return trl.train(job, template, found, work)


class ScoreTrainer(RunTrainer, RewardTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer on rows that are tokens already, with our optimizer, callback and files."""

    def __init__(self, setup: Setup, rows: list[Row]) -> None:
        setup.prepare(self)
        self._numbers = setup.numbers
        super().__init__(
            args=RewardConfig(**setup.arguments, max_length=None),
            train_dataset=Dataset.from_list(rows),
            **setup.options,
        )
        for name, parameter in self.model.named_parameters():
            if f".{loading.HEAD}." in name:  # TRL puts all that is trained on a 4-bit base into bf16
                parameter.data = parameter.data.float()

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        trl.count_and_check(self, self._numbers, inputs, loss)
        return loss
