"""What a judge is: it takes a probe and the answer to it, and gives a judgement.
The judges themselves have a module each; the registry is the package's `__init__`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.evaluation.client import CompletionClient
from store.records import Probe


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether an answer passed, how good it is from 0 to 1, and why, in a few words. Where it could not be judged,
    `passed` and `score` are None and `reason` says why not: it counts neither as passed nor as failed."""

    passed: bool | None
    score: float | None
    reason: str

    @classmethod
    def none(cls, reason: str) -> Judgement:
        """An answer that could not be judged."""
        return cls(None, None, reason)


class Judge(Protocol):
    """Scores answers. `name` is what users write, `help` one line on what it looks at."""

    name: str
    help: str

    def check(self, probe: Probe) -> None:
        """Raise BadInput when this judge cannot judge answers to such a probe. Called before any model is asked."""

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        """Judge one answer. `client` is for judges that ask a model; TuningforkError when they can ask none."""
        ...
