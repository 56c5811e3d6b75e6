"""KTO on TRL's KTOTrainer: engine.training.objectives.kto names the loss and the paper.
The reference is the model that the run starts from, as in DPO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from engine.training.judged import answers, check_feedback
from engine.training.preflight import template_of
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.objectives import trl
from engine.training.worker.objectives.shared import RunTrainer
from engine.training.worker.objectives.trl import Row, Setup, Work

LOGGED = {
    "rewards/margins": "margin",
    "rewards/chosen": "reward_good",
    "rewards/rejected": "reward_bad",
    "kl": "kl",
}


def train(job: TrainingJob) -> Outcome:
    """Train to the end or to a wanted stop. Raises BadInput, Conflict, Unsupported or WorkerError."""
    template = template_of(job.base_folder, job.config)
    found = check_feedback(job.rows, template, job.config).require()
    made = answers(job.rows, template, job.config)
    good = {row.ord: bool(row.good) for row in job.rows}
    train, val = (
        [
            {
                "prompt_ids": each.ids[: each.n_prompt],
                "completion_ids": each.ids[each.n_prompt :],
                "label": good[ord],
            }
            for ord, each in split.items()
        ]
        for split in (made.train, made.val)
    )
    measured_on = list((made.val or made.train).values())
    work = Work(train, val, measured_on, lambda setup: KtoTrainer(setup, train), LOGGED)
    return trl.train(job, template, found, work)


class MismatchedCollator(DataCollatorForUnpairedPreference):  # type: ignore[misc]  # TRL has no types
    """TRL's collator, which gives each prompt the answer of its neighbour in the batch, too: how much these have gained
    is how far the model has moved at all. TRL pairs them once for batches in a fixed order; here rows are shuffled in
    each pass over the data. A batch of one row takes the answer of another row.
    """

    def __init__(self, pad: int, rows: Sequence[Row]) -> None:
        super().__init__(pad_token_id=pad)
        self._rows = rows

    def torch_call(self, examples: list[Row]) -> dict[str, Any]:
        before = [examples[-1], *examples[:-1]]
        if len(examples) == 1:
            before = [next((row for row in self._rows if row["prompt_ids"] != examples[0]["prompt_ids"]), examples[0])]
        paired = [
            {**row, "KL_completion_ids": other["completion_ids"]} for row, other in zip(examples, before, strict=True)
        ]
        found: dict[str, Any] = super().torch_call(paired)
        return found


class KtoTrainer(RunTrainer, KTOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer on rows that are tokens already, with our optimizer, callback and files."""

    def __init__(self, setup: Setup, rows: list[Row]) -> None:
        setup.prepare(self)
        self._numbers = setup.numbers
        config = setup.job.config
        super().__init__(
            args=KTOConfig(
                **setup.arguments,
                beta=config.beta,
                desirable_weight=config.good_weight,
                undesirable_weight=config.bad_weight,
                max_length=None,
            ),
            train_dataset=Dataset.from_list(rows),
            data_collator=MismatchedCollator(setup.template.pad_id, rows),
            **setup.options,
        )
        self.args.train_sampling_strategy = "random"  # TRL's pairs need a fixed order, ours do not
        trl.keep_reference(self.model, is_base=setup.job.start is None)

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def compute_loss(
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        trl.count_and_check(self, self._numbers, inputs, loss)
        return loss
