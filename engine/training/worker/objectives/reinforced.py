"""What the trainers have in common that learn from rewards for the model's own answers: which prompts a step takes, how
they are answered and rewarded, and what is logged. The loss is grpo.py's and rloo.py's.

Answers are sampled by live.py, which computes what prompts have in common once; TRL's own generation is for vLLM and
for generate(). What rewards them is rewarding.py's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Sampler

from engine.training.preflight import template_of
from engine.training.prompts import Prompt, check_prompts, prompts
from engine.training.worker import live, rewarding
from engine.training.worker.callbacks import refuse_broken
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.objectives import trl
from engine.training.worker.objectives.shared import RunTrainer
from engine.training.worker.objectives.trl import Setup, Work
from engine.training.worker.rewarding import Reward
from store.errors import ServerError

LOGGED = {
    "reward": "reward",
    "reward_std": "reward_std",
    "kl": "kl",
    "completions/mean_length": "answer_tokens",
    "completions/clipped_ratio": "cut_off",
}
PROGRESS_S = 10.0
"""Seconds between two notes that rewarding goes on."""


def train(job: TrainingJob, build: Callable[[Setup, Rollouts], RunTrainer]) -> Outcome:
    """Train to the end or to a wanted stop. Raises BadInput, Conflict, Unsupported, ServerError or WorkerError."""
    template, rows = template_of(job.base_folder, job.config), rewarding.rows_of(job)
    found = check_prompts(rows, template, job.config).require()
    asked = prompts(rows, template)
    measured = [template.example(row.messages, job.config.max_length) for row in rows if row.split == "train"]
    with rewarding.opened(job) as reward:
        work = Work(_rows(asked), (), measured, lambda setup: build(setup, Rollouts(setup, asked, reward)), LOGGED)
        return trl.train(job, template, found, work)


def _rows(asked: Sequence[Prompt]) -> list[dict[str, str]]:
    """The prompts as TRL takes rows: the number of each, for a text."""
    return [{"prompt": str(number)} for number in range(len(asked))]


class GroupSampler(Sampler[int]):
    """Numbers of prompts for all steps of a run: `per_step` of them for each step, each `group` times in a row. The
    prompts are shuffled again in each pass over them, and a step may begin one pass and end another.
    """

    def __init__(self, many: int, per_step: int, group: int, steps: int, seed: int) -> None:
        self._many, self._per_step, self._group, self._steps, self._seed = many, per_step, group, steps, seed

    def __len__(self) -> int:
        return self._steps * self._per_step * self._group

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed)
        order: list[int] = []
        for _ in range(self._steps * self._per_step):
            order = order or torch.randperm(self._many, generator=generator).tolist()
            yield from [order.pop()] * self._group


class Rollouts:
    """The answers of a run to its prompts. A trainer of TRL holds one and hands on to it what it does otherwise:
    `arguments` are for its configuration, `rows` its data, `order` its sampler.
    """

    def __init__(self, setup: Setup, asked: Sequence[Prompt], reward: Reward) -> None:
        config = setup.job.config
        self._numbers, self._template, self._asked, self._reward = setup.numbers, setup.template, asked, reward
        self._reporter, self._told = setup.job.reporter, time.monotonic()
        self._longest, self._temperature = config.answer_tokens, config.temperature
        self._before: tuple[tuple[Any, ...], int] = _random_state(), 0
        self.rows = Dataset.from_list(_rows(asked))
        self.order = GroupSampler(len(asked), config.batch_size, config.group_size, setup.total, config.seed)
        self.arguments: dict[str, Any] = setup.arguments | {
            "per_device_train_batch_size": config.batch_size * config.group_size,
            "beta": config.beta,
            "num_generations": config.group_size,
            "max_completion_length": config.answer_tokens,
            "temperature": config.temperature,
            "disable_dropout": True,
        }

    def ids(self, rows: Sequence[str]) -> list[list[int]]:
        """The tokens of the prompts that TRL knows by number."""
        return [self._asked[int(number)].ids for number in rows]

    def sample(self, trainer: Any, prompt_ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """An answer to each prompt, as tokens. The first thing of a step: what came before it is what a checkpoint of
        the last step holds."""
        self._before = _random_state(), trainer.state.num_input_tokens_seen
        return live.samples(trainer.model, self._template, prompt_ids, self._longest, self._temperature)

    def rewards(self, trainer: RunTrainer, rows: Sequence[str], answers: Sequence[str]) -> list[float | None]:
        """What each answer earns; None for one that nothing can be said of, which then teaches nothing.

        When a server fails that is asked for it, the run keeps a checkpoint of its last step, from which it can be
        resumed as if that step had been its last one, and ServerError is raised.
        """
        try:
            asked = [self._asked[int(number)] for number in rows]
            return self._reward(asked, answers, lambda: self._go_on(trainer.state.global_step))
        except ServerError:
            state, seen = self._before
            _restore(state)
            trainer.state.num_input_tokens_seen = seen
            trainer.save_now()
            raise

    def _go_on(self, step: int) -> None:
        """Note that the run goes on, with no number: judging the answers of a step may take longer than a run may be
        silent before it counts as hung."""
        if time.monotonic() - self._told >= PROGRESS_S:
            self._told = time.monotonic()
            self._reporter.metrics(step, {})

    def count(self, trainer: Any, inputs: Any, loss: torch.Tensor) -> None:
        """Count the tokens of a step. Diverged when its loss is no finite number."""
        self._numbers.tokens += int(inputs["prompt_mask"].sum() + inputs["completion_mask"].sum())
        refuse_broken(trainer.state.global_step + 1, float(loss.detach()), "loss")


def _random_state() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _restore(state: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = state
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
