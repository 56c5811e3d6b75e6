"""Before a run: which probes the base passes already, alone or with examples of the data before them, and whether the
data has wordings like the probe's. Asks through the chat server; nothing is trained.

Examples in the prompt stand in for training: what a base can do with them, tuning on them teaches soon; Brown et al.,
"Language Models are Few-Shot Learners", https://arxiv.org/abs/2005.14165.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from engine.evaluation import probes as probing
from engine.evaluation.client import CompletionClient
from engine.inference.client import Done
from engine.inference.few_shot import FewShot
from engine.inference.sampling import Sampling
from store import probe_files
from store.curate.duplicates import tokens
from store.curate.language import guess, scripts
from store.curate.question_forms import forms_of
from store.records import Message, Pair, PairDraft, Probe
from store.terms import contains

Verdict = Literal["known already", "will learn", "lacks wordings", "another language", "not in the data"]
NEAR = 0.35
"""The likeness (cosine of words and word pairs, rare ones counting more) from which on a training question counts as a
wording of the probe's."""
_YES_OR_NO = frozenset({"denial", "confirmation", "human", "roleplay"})
"""Forms of question whose answers begin with yes or no, or turn something down: no other question is answered so."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The training pair whose question is most like a probe's, and how alike they are; `source` is the pair whose
    answer fits the probe best, of those whose answer contains what it looks for and is in its language, None where
    there is none. `answered` says whether any answer contains it, in whatever language; `same_form` whether `source`
    answers the same form of question about the model itself."""

    nearest: Pair | None
    likeness: float
    source: Pair | None
    source_likeness: float
    answered: bool = False
    same_form: bool = False


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


class TrainingQuestions:
    """The questions of training pairs, made ready to be compared with many probes.

    >>> from types import SimpleNamespace as Pair
    >>> asked = ["What is your name?", "Who made you?", "What is the capital of France?"]
    >>> known = TrainingQuestions([Pair(question=each, answer="", kind="instruction", history=()) for each in asked])
    >>> [round(each, 2) for each in known.alike("Your name?")]
    [0.75, 0.0, 0.0]
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = list(pairs)
        counts = [_features(pair.question) for pair in self.pairs]
        many = Counter(feature for each in counts for feature in each)
        self._rare = {feature: math.log(1 + len(counts) / n) for feature, n in many.items()}
        self._new = math.log(1 + len(counts))
        self._vectors = [self._vector(each) for each in counts]
        self.forms = [frozenset(forms_of(pair)) if pair.kind == "identity" else frozenset() for pair in self.pairs]

    def alike(self, question: str) -> list[float]:
        """How alike each training question is to this one, from 0 to 1."""
        asked = self._vector(_features(question))
        return [sum(value * other.get(feature, 0.0) for feature, value in asked.items()) for other in self._vectors]

    def _vector(self, features: Counter[str]) -> dict[str, float]:
        weights = {feature: n * self._rare.get(feature, self._new) for feature, n in features.items()}
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        return {feature: weight / length for feature, weight in weights.items()}


def _features(question: str) -> Counter[str]:
    """Words and neighbouring words; characters where a script writes no spaces."""
    words = tokens(question)
    return Counter([*words, *(f"{one} {two}" for one, two in pairwise(words))])


def coverage(probe: Probe, known: TrainingQuestions) -> Coverage:
    """How the data covers a probe. Texts only.

    An answer fits best that answers the same form of question (who made it, what it is called), then the one that holds
    most of what the probe looks for, then the one whose question is most alike.
    """
    alike = known.alike(probe.question)
    nearest = max(range(len(alike)), key=lambda at: alike[at], default=None)
    answering = [at for at, pair in enumerate(known.pairs) if _holds(pair, probe)]
    form = frozenset(forms_of(_Asked(probe.question)))
    ranked = sorted(
        (at for at in answering if _same_language(probe, known.pairs[at].answer) and _fits(form, known.forms[at])),
        key=lambda at: (bool(form & known.forms[at]), _holds(known.pairs[at], probe), alike[at]),
        reverse=True,
    )
    source = ranked[0] if ranked else None
    return Coverage(
        None if nearest is None else known.pairs[nearest],
        0.0 if nearest is None else alike[nearest],
        None if source is None else known.pairs[source],
        0.0 if source is None else max(alike[at] for at in ranked),
        bool(answering),
        source is not None and bool(form & known.forms[source]),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as `forms_of` reads a pair."""

    question: str
    answer: str = ""
    system: str = ""
    history: tuple[()] = ()
    uid: str = ""
    kind: str = "identity"


def _holds(pair: Pair, probe: Probe) -> int:
    return sum(contains(pair.answer, term) for term in probe.must)


def _fits(asked: frozenset[str], answered: frozenset[str]) -> bool:
    """Whether an answer of one form of question can answer another: yes and no answer only what asks for them."""
    return bool(asked & _YES_OR_NO) == bool(answered & _YES_OR_NO) or not answered - {"conversation"}


def _same_language(probe: Probe, answer: str) -> bool:
    """Whether a probe's question and an answer are in one language, as far as that is certain. What the probe looks
    for, such as a name, is of no language."""
    one, other = (_without(text, probe.must) for text in (probe.question, answer))
    here, there = (max(scripts(text).items(), key=lambda item: item[1], default=("", 0))[0] for text in (one, other))
    if here and there and here != there and not {here, there} <= {"han", "kana"}:
        return False
    asked, said = guess(one), guess(other)
    return asked is None or said is None or asked == said


def _without(text: str, terms: Sequence[str]) -> str:
    for term in terms:
        text = re.sub(re.escape(term), " ", text, flags=re.IGNORECASE)
    return text


def verdict(probe: Probe, known: TrainingQuestions, alone: bool, shown: bool) -> Forecast:
    """What to expect of a probe, from what the base answers and what the data holds.

    What is not in the data cannot be learned, not even where an answer in another language has it. What is there will
    be learned where the base can already do it from examples, or where a training question is worded like it or of its
    form; else its wording is missing, and a draft pair has it.
    """
    found = coverage(probe, known)
    if alone:
        word: Verdict = "known already"
    elif found.source is None:
        word = "another language" if found.answered else "not in the data"
    else:
        near = found.source_likeness >= NEAR or found.same_form
        word = "will learn" if shown or near else "lacks wordings"
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
    known = TrainingQuestions(pairs)
    return [verdict(probe, known, bool(one.passed), bool(two.passed)) for probe, one, two in sides]


class _WithExamples:
    """A client that puts examples before each conversation."""

    def __init__(self, client: CompletionClient, examples: FewShot) -> None:
        self._client, self._examples = client, examples

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        return await self._client.complete(model, self._examples.before(messages), sampling, lane)
