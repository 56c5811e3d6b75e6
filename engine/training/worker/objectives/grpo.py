"""GRPO on TRL's GRPOTrainer: engine.training.objectives.grpo names the loss and the papers.

Answers are sampled by live.py, which computes what prompts have in common once; TRL's own generation is for vLLM and
for generate(). Rewards come from what the run keeps in its folder (rewards.py).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from trl import GRPOConfig, GRPOTrainer

from engine.models.chat_template import ChatTemplate
from engine.training import rewards
from engine.training.config import TrainConfig
from engine.training.preflight import template_of
from engine.training.prompts import Prompt, check_prompts, prompts
from engine.training.worker import live
from engine.training.worker.callbacks import refuse_broken
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.objectives import trl
from engine.training.worker.objectives.shared import RunTrainer
from engine.training.worker.objectives.trl import Setup, Work
from engine.training.worker.scoring import Scorer
from store.errors import BadInput
from store.records import Message

LOGGED = {
    "reward": "reward",
    "reward_std": "reward_std",
    "kl": "kl",
    "completions/mean_length": "answer_tokens",
    "completions/clipped_ratio": "cut_off",
}

Reward = Callable[[Sequence[Prompt], Sequence[str]], list[float]]
"""The reward of each answer to the prompt beside it."""


def train(job: TrainingJob) -> Outcome:
    """Train to the end or to a wanted stop. Raises BadInput, Conflict, Unsupported or WorkerError."""
    template = template_of(job.base_folder, job.config)
    found = check_prompts(job.rows, template, job.config).require()
    asked = prompts(job.rows, template)
    rows = [{"prompt": str(number)} for number in range(len(asked))]
    reward = reward_of(job)
    measured = [template.example(row.messages, job.config.max_length) for row in job.rows if row.split == "train"]
    work = Work(rows, (), measured, lambda setup: GrpoTrainer(setup, asked, reward), LOGGED)
    return trl.train(job, template, found, work)


# ---------------------------------------------------------------- rewards


def reward_of(job: TrainingJob) -> Reward:
    """What rewards the run's answers, from its folder."""
    about, folder = rewards.kept(job.out), job.out / rewards.FOLDER
    if "function" in about:
        job.reporter.say(rewards.said(job.config), level="warning")
        return by_function(folder / rewards.CODE, about["function"])
    assert job.scorer_base is not None
    job.reporter.say(f"Loading the reward model {job.config.reward}", phase="loading")
    scorer = Scorer(TrainConfig.from_json(about["config"]), job.scorer_base, folder)

    def by_model(asked: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        return scorer.of_messages([said(each, answer) for each, answer in zip(asked, answers, strict=True)])

    return by_model


def said(asked: Prompt, answer: str) -> list[Message]:
    """The conversation with an answer."""
    return [*asked.messages, {"role": "assistant", "content": answer}]


def by_function(path: Path, function: str) -> Reward:
    """The user's function in a file, called for each answer. Its faults are told as the user's: BadInput."""
    spec = importlib.util.spec_from_file_location("tuningfork_reward", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        call = getattr(module, function)
    except Exception as error:
        raise _of_user(f"The reward's file cannot be run: {error!r}.") from error

    def reward(asked: Sequence[Prompt], answers: Sequence[str]) -> list[float]:
        found = []
        for each, answer in zip(asked, answers, strict=True):
            try:
                value = float(call(prompt=list(each.messages), answer=answer, expected=each.expected))
            except Exception as error:
                raise _of_user(f"{function} failed on the answer {answer[:80]!r}: {error!r}.") from error
            if not math.isfinite(value):
                raise _of_user(f"{function} gave {value} for the answer {answer[:80]!r}; a reward is a finite number.")
            found.append(value)
        return found

    return reward


def _of_user(what: str) -> BadInput:
    return BadInput(what, where="reward_file", todo="Correct the function, and train a new run.")


# ---------------------------------------------------------------- the trainer


class GroupSampler(Sampler[int]):
    """Numbers of prompts for all steps of a run: `per_step` of them for each step, each `group` times in a row. The
    prompts are shuffled anew in each pass over them, and a step may begin one pass and end another.
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


class GrpoTrainer(RunTrainer, GRPOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer on prompts that are tokens already, with our sampling, optimizer, callback and files."""

    def __init__(self, setup: Setup, asked: Sequence[Prompt], reward: Reward) -> None:
        setup.prepare(self)
        config = setup.job.config
        self._numbers, self._asked, self._template = setup.numbers, asked, setup.template
        self._answer_tokens = config.answer_tokens
        self._order = GroupSampler(len(asked), config.batch_size, config.group_size, setup.total, config.seed)
        arguments = setup.arguments | {"per_device_train_batch_size": config.batch_size * config.group_size}

        def earned(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
            return reward([asked[int(number)] for number in prompts], completions)

        super().__init__(
            reward_funcs=[earned],
            args=GRPOConfig(
                **arguments,
                beta=config.beta,
                num_generations=config.group_size,
                max_completion_length=config.answer_tokens,
                temperature=config.temperature,
                disable_dropout=True,
            ),
            train_dataset=Dataset.from_list([{"prompt": str(number)} for number in range(len(asked))]),
            **setup.options,
        )
        trl.keep_reference(self.model, is_base=setup.job.start is None)

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        return self._order

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self._asked[int(number)].ids for number in prompts], None, {}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        template: ChatTemplate = self._template
        return live.samples(self.model, template, prompt_ids, self._answer_tokens, self.temperature), None

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._numbers.tokens += int(inputs["prompt_mask"].sum() + inputs["completion_mask"].sum())
        refuse_broken(self.state.global_step + 1, float(loss.detach()), "loss")
        return loss
