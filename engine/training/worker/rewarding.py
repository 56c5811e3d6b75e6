"""What rewards the answers of a run, from what the run keeps in its folder (engine.training.rewards): a reward model, a
function of the user's, probes, or a model that judges. Which answers there are and what is learned from a reward is the
objective's."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from engine.training import rewards
from engine.training.config import TrainConfig
from engine.training.prompts import Prompt
from engine.training.reward_probes import RewardProbes
from engine.training.worker.contracts import TrainingJob
from engine.training.worker.judging import JudgeReward
from engine.training.worker.scoring import Scorer
from store.errors import BadInput
from store.records import Message, SnapshotRow


def _silent() -> None:
    """Nobody waits to hear that rewarding goes on."""


class Reward(Protocol):
    """What rewards answers."""

    def __call__(
        self, asked: Sequence[Prompt], answers: Sequence[str], goes_on: Callable[[], None] = _silent
    ) -> list[float | None]:
        """The reward of each answer to the prompt beside it; None for one that nothing can be said of. What takes long
        calls `goes_on` after each answer."""
        ...


def rows_of(job: TrainingJob) -> list[SnapshotRow]:
    """The rows of a run whose answers can be rewarded."""
    if job.config.reward_probes is None:
        return job.rows
    return rewards.kept_probes(job.out).asked(job.rows)[0]


@contextmanager
def opened(job: TrainingJob) -> Iterator[Reward]:
    """What rewards the run's answers, for as long as it trains."""
    about, folder = rewards.kept(job.out), job.out / rewards.FOLDER
    if "judge" in about:
        assert job.home is not None
        job.reporter.say(rewards.said(job.config), level="warning")
        judge = JudgeReward(job.home, about["judge"], (folder / rewards.RUBRIC).read_text("utf-8"), job.reporter)
        try:
            yield judge
        finally:
            judge.end()
    elif "function" in about:
        job.reporter.say(rewards.said(job.config), level="warning")
        yield by_function(folder / rewards.CODE, about["function"])
    elif "probes" in about:
        yield by_probes(rewards.kept_probes(job.out))
    else:
        assert job.scorer_base is not None
        job.reporter.say(f"Loading the reward model {job.config.reward}", phase="loading")
        yield by_model(Scorer(TrainConfig.from_json(about["config"]), job.scorer_base, folder))


def by_model(scorer: Scorer) -> Reward:
    """A reward model's score of each answer."""

    def reward(
        asked: Sequence[Prompt], answers: Sequence[str], goes_on: Callable[[], None] = _silent
    ) -> list[float | None]:
        return [*scorer.of_messages([said(each, answer) for each, answer in zip(asked, answers, strict=True)])]

    return reward


def by_probes(probes: RewardProbes) -> Reward:
    """What the probes that ask each prompt give its answer, from 0 to 1."""

    def reward(
        asked: Sequence[Prompt], answers: Sequence[str], goes_on: Callable[[], None] = _silent
    ) -> list[float | None]:
        return [probes.score(each.messages, answer) for each, answer in zip(asked, answers, strict=True)]

    return reward


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

    def reward(
        asked: Sequence[Prompt], answers: Sequence[str], goes_on: Callable[[], None] = _silent
    ) -> list[float | None]:
        found: list[float | None] = []
        for each, answer in zip(asked, answers, strict=True):
            try:
                value = float(call(prompt=list(each.messages), answer=answer, expected=each.expected))
            except Exception as error:
                raise _of_user(f"{function} failed on the answer {answer[:80]!r}: {error!r}.") from error
            if not math.isfinite(value):
                raise _of_user(f"{function} gave {value} for the answer {answer[:80]!r}; a reward is a finite number.")
            found.append(value)
            goes_on()
        return found

    return reward


def _of_user(what: str) -> BadInput:
    return BadInput(what, where="reward_file", todo="Correct the function, and train a new run.")
