"""Before a run: which probes the base passes already, alone or with examples of the data before them, and whether the
data has wordings like the probe's. Asks through the chat server; nothing is trained.

Examples in the prompt stand in for training: what a base can do with them, tuning on them teaches soon; Brown et al.,
"Language Models are Few-Shot Learners", https://arxiv.org/abs/2005.14165.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.evaluation import probes as probing
from engine.evaluation.client import CompletionClient
from engine.inference.client import Done
from engine.inference.few_shot import FewShot
from engine.inference.sampling import Sampling
from store import probe_files
from store.curate.duplicates import likeness, shingles
from store.records import Message, Pair, PairDraft, Probe
from store.terms import contains

Verdict = Literal["known already", "will learn", "lacks wordings", "not in the data"]
NEAR = 0.2
"""The likeness (Jaccard, of shingles) from which on a training question counts as a wording of the probe's."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The training pair whose question is most like a probe's, and how alike they are; `source` is the most alike one
    of those whose answer contains what the probe looks for, None where no answer does."""

    nearest: Pair | None
    likeness: float
    source: Pair | None
    source_likeness: float

    @property
    def answered(self) -> bool:
        """Whether any answer of the data contains what the probe looks for."""
        return self.source is not None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of one probe. `alone` and `shown` say whether the base passes it without and with examples
    of the data; `draft` is a pair with the missing wording, where the data has an answer for it."""

    probe: Probe
    verdict: Verdict
    alone: bool
    shown: bool
    coverage: Coverage
    draft: PairDraft | None


def coverage(probe: Probe, pairs: Sequence[Pair]) -> Coverage:
    """How the data covers a probe. Texts only."""
    asked = shingles(probe.question)
    alike = [likeness(asked, shingles(pair.question)) for pair in pairs]
    ranked = sorted(range(len(pairs)), key=lambda at: -alike[at])
    answering = (at for at in ranked if any(contains(pairs[at].answer, term) for term in probe.must))
    nearest, source = ranked[0] if ranked else None, next(answering, None)
    return Coverage(
        None if nearest is None else pairs[nearest],
        0.0 if nearest is None else alike[nearest],
        None if source is None else pairs[source],
        0.0 if source is None else alike[source],
    )


def verdict(probe: Probe, pairs: Sequence[Pair], alone: bool, shown: bool) -> Forecast:
    """What to expect of a probe, from what the base answers and what the data holds.

    A probe whose answer is in the data will be learned where the base can already do it from examples, or where a
    training question is worded like it; else its wording is missing, and a draft pair has it.
    """
    found = coverage(probe, pairs)
    if alone:
        word: Verdict = "known already"
    elif found.source is None:
        word = "not in the data"
    else:
        word = "will learn" if shown or found.source_likeness >= NEAR else "lacks wordings"
    draft = None
    if word == "lacks wordings" and (source := found.source) is not None:
        draft = PairDraft(
            probe.question, source.answer, system=source.system, kind=source.kind, status="draft", tags=("forecast",)
        )
    return Forecast(probe, word, alone, shown, found, draft)


async def forecast(
    client: CompletionClient,
    model: str,
    asked: Sequence[Probe],
    pairs: Sequence[Pair],
    examples: FewShot,
    sampling: Sampling,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Forecast]:
    """Ask the base each probe twice, without and with examples, and judge what the data will do.

    `on_progress` gets how many answers have come, and of how many. BadInput for a probe that does not go by its words,
    with which the data could not be compared. Raises what `probes.run` raises.
    """
    for number, probe in enumerate(asked, 1):
        probe_files.check_by_words(probe, f"{probe.set}, probe {number}")
    every = 2 * len(asked)

    def from_(start: int) -> Callable[[int, int], None] | None:
        return (lambda done, of: on_progress(start + done, every)) if on_progress else None

    alone = await probing.run(client, model, asked, sampling, from_(0))
    shown = await probing.run(_WithExamples(client, examples), model, asked, sampling, from_(len(asked)))
    sides = zip(asked, alone.items, shown.items, strict=True)
    return [verdict(probe, pairs, bool(one.passed), bool(two.passed)) for probe, one, two in sides]


class _WithExamples:
    """A client that puts examples before each conversation."""

    def __init__(self, client: CompletionClient, examples: FewShot) -> None:
        self._client, self._examples = client, examples

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        return await self._client.complete(model, self._examples.before(messages), sampling, lane)
