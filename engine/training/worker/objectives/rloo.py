"""RLOO on TRL's RLOOTrainer: engine.training.objectives.rloo names the loss and the paper.
How answers come about and are rewarded is reinforced.py's."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Sampler
from trl import RLOOConfig, RLOOTrainer

from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.objectives import reinforced, trl
from engine.training.worker.objectives.reinforced import Rollouts
from engine.training.worker.objectives.shared import RunTrainer
from engine.training.worker.objectives.trl import Setup


def train(job: TrainingJob) -> Outcome:
    """See reinforced.train."""
    return reinforced.train(job, RlooTrainer)


class RlooTrainer(RunTrainer, RLOOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer on prompts that are tokens already, with our sampling, optimizer, callback and files."""

    def __init__(self, setup: Setup, rollouts: Rollouts) -> None:
        setup.prepare(self)
        self._rollouts = rollouts

        def earned(prompts: list[str], completions: list[str], **_: Any) -> list[float | None]:
            return rollouts.rewards(self, prompts, completions)

        super().__init__(
            reward_funcs=[earned],
            args=RLOOConfig(**rollouts.arguments),
            train_dataset=rollouts.rows,
            **setup.options,
        )
        trl.keep_reference(self.model, is_base=setup.job.start is None)

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        return self._rollouts.order

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return self._rollouts.ids(prompts), None, {}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> list[list[int]]:
        return self._rollouts.sample(self, prompt_ids)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._rollouts.count(self, inputs, loss)
        return loss
