"""Statistics of a dataset: what its rows are, how long, in which languages, how they begin, and what that will teach.
Counts and plain advice on pairs that are given; the thresholds come from measured runs and are named here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from store.curate.duplicates import normal
from store.curate.findings import PairLike
from store.curate.histogram import LengthSpread, spread
from store.curate.question_forms import FormCoverage, coverage, language_of
from store.search_text import is_word, unspaced

MOST_IDENTITY = 0.75
"""Above this share of identity pairs the model forgets what it knew: a third of general rows prevents that."""
FEW = 20
"""Fewer pairs than this rarely teach more than their own wording."""
ONE_OPENING = 0.5
"""Above this share of questions or answers that open alike the wordings are too alike."""
OPENING_WORDS, OPENING_SIGNS = 2, 2
"""An opening is so many words, or so many characters of a script that writes no spaces between words."""
_OPENINGS = 8
_BEGINNING = 64  # characters in which the first words are looked for
UNSURE = "unsure"
"""The language of a pair that is too short, or too mixed, to guess it."""
_TOLD_EVERY = 200


class CountedPair(PairLike, Protocol):
    """What the statistics read of a pair; `store.records.Pair` has it."""

    @property
    def status(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Opening:
    """The words that texts begin with, in normal form: how many of them do, and what share that is, from 0 to 1."""

    text: str
    n: int
    share: float


@dataclass(frozen=True, slots=True)
class DatasetStatistics:
    """What a dataset is made of.

    `pairs` and the counts by kind, status, split and tag are of all its pairs. All else is of the `measured` ones: the
    ready pairs, which are what a run learns, or where none is ready (`of_ready` is false) those that are not rejected.
    Lengths are in characters; a `row` is the question and the answer. `tag_shares` are shares of the measured pairs.
    """

    pairs: int
    kinds: dict[str, int]
    statuses: dict[str, int]
    splits: dict[str, int]
    tags: dict[str, int]
    measured: int
    of_ready: bool
    identity_share: float
    with_system: int
    with_history: int
    systems: int
    questions: LengthSpread
    answers: LengthSpread
    rows: LengthSpread
    languages: dict[str, int]
    question_openings: list[Opening]
    answer_openings: list[Opening]
    tag_shares: dict[str, float]
    forms: FormCoverage
    advice: list[str] = field(default_factory=list)


def statistics(
    members: Iterable[tuple[CountedPair, str]], on_progress: Callable[[int], object] = lambda done: None
) -> DatasetStatistics:
    """The statistics of pairs with their splits; of none, zeros. `on_progress` gets the pairs that were looked at."""
    members = list(members)
    everything = [pair for pair, _ in members]
    ready = [pair for pair in everything if pair.status == "ready"]
    chosen = ready or [pair for pair in everything if pair.status != "rejected"]
    languages: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    said: Counter[str] = Counter()
    for n, pair in enumerate(chosen):
        if n % _TOLD_EVERY == 0:
            on_progress(n)
        languages[language_of(pair) or UNSURE] += 1
        asked[opening(pair.question)] += 1
        said[opening(pair.answer)] += 1
    tags = Counter(tag for pair in chosen for tag in pair.tags)
    found = DatasetStatistics(
        pairs=len(everything),
        kinds=_counts(pair.kind for pair in everything),
        statuses=_counts(pair.status for pair in everything),
        splits=_counts(split for _, split in members),
        tags=_counts(tag for pair in everything for tag in pair.tags),
        measured=len(chosen),
        of_ready=bool(ready) or not chosen,
        identity_share=sum(pair.kind == "identity" for pair in chosen) / max(1, len(chosen)),
        with_system=sum(bool(pair.system) for pair in chosen),
        with_history=sum(bool(pair.history) for pair in chosen),
        systems=len({pair.system for pair in chosen if pair.system}),
        questions=spread(len(pair.question) for pair in chosen),
        answers=spread(len(pair.answer) for pair in chosen),
        rows=spread(len(pair.question) + len(pair.answer) for pair in chosen),
        languages=dict(languages.most_common()),
        question_openings=_openings(asked),
        answer_openings=_openings(said),
        tag_shares={tag: n / len(chosen) for tag, n in tags.most_common()},
        forms=coverage(chosen),
    )
    found.advice.extend(_advice(found))
    return found


def opening(text: str) -> str:
    """How a text begins, in normal form: its first two words, or two characters of a script without spaces.

    >>> opening("What is  the capital?"), opening("“我叫小星。”"), opening("GPT 是什么"), opening("")
    ('what is', '我叫', 'gpt 是', '')
    """
    first = normal(text[:_BEGINNING]).split("\n")[0].lstrip("\"'“”‘’«»「」『』(（[【*#-—– ")
    words = first.split()
    if not words:
        return ""
    if unspaced(first[0]):
        return "".join(char for char in first if is_word(char))[:OPENING_SIGNS]
    shown = [words[0], *(words[1:2] if len(words) > 1 else [])]
    if len(shown) > 1 and unspaced(shown[1][0]):
        shown[1] = shown[1][:1]
    return " ".join(shown)


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _openings(counts: Counter[str]) -> list[Opening]:
    total = counts.total()
    return [Opening(text, n, n / total) for text, n in counts.most_common(_OPENINGS) if text and n > 1]


def _advice(found: DatasetStatistics) -> list[str]:
    advice = []
    count = found.measured
    if found.identity_share > MOST_IDENTITY:
        share = round(100 * found.identity_share)
        advice.append(f"{share}% are identity pairs: mix in general ones (a third), or the model forgets what it knew.")
    if 0 < count < FEW:
        advice.append(f"{count} pairs teach little more than their own wording: {FEW} or more are better.")
    for what, openings in (("questions", found.question_openings), ("answers", found.answer_openings)):
        if count >= FEW and openings and openings[0].share > ONE_OPENING:
            first = openings[0]
            advice.append(f"{first.n:,} of {count:,} {what} begin with {first.text!r}: vary the wording.")
    if missing := found.forms.missing:
        forms = ", ".join(missing)
        advice.append(f"No identity pair of these forms: {forms}. Propose some with: tuningfork data wizard")
    return advice


def as_json(found: DatasetStatistics) -> dict[str, Any]:
    """Everything as JSON values, under the names that `data stats --json` gives."""
    return {
        "pairs": found.pairs,
        "kind": found.kinds,
        "status": found.statuses,
        "split": found.splits,
        "tags": found.tags,
        "measured": {"pairs": found.measured, "of": "ready" if found.of_ready else "not rejected"},
        "identity_share": found.identity_share,
        "with_system": found.with_system,
        "with_history": found.with_history,
        "systems": found.systems,
        "question_chars": lengths_as_json(found.questions),
        "answer_chars": lengths_as_json(found.answers),
        "row_chars": lengths_as_json(found.rows),
        "histograms": {
            "question_chars": bars_as_json(found.questions),
            "answer_chars": bars_as_json(found.answers),
            "row_chars": bars_as_json(found.rows),
        },
        "languages": found.languages,
        "question_openings": [_opening_as_json(each) for each in found.question_openings],
        "answer_openings": [_opening_as_json(each) for each in found.answer_openings],
        "tag_shares": found.tag_shares,
        "forms": {
            "identity": found.forms.identity,
            "counts": found.forms.forms,
            "other": found.forms.other,
            "missing": found.forms.missing,
        },
        "advice": found.advice,
    }


def lengths_as_json(lengths: LengthSpread) -> dict[str, int]:
    """The figures of lengths without their bars; empty for none."""
    if not lengths.bars:
        return {}
    return {"min": lengths.least, "median": lengths.median, "max": lengths.most, "total": lengths.total}


def bars_as_json(lengths: LengthSpread) -> list[dict[str, int | None]]:
    """The bars of a histogram: from (inclusive), to (exclusive, null: without end), count."""
    return [{"from": bar.low, "to": bar.high, "count": bar.n} for bar in lengths.bars]


def _opening_as_json(opening: Opening) -> dict[str, Any]:
    return {"opening": opening.text, "count": opening.n, "share": opening.share}
