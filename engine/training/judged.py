"""Rows of judged answers as tokens, and what a preflight finds in them: preferences (two answers to one prompt) and
feedback (one answer, good or bad). Light: the template and the rows, no torch and no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from engine.models.chat_template import ChatTemplate, Example
from engine.training.preflight import Preflight, RowLimits, Tokenised, judge, subject, tokenise
from store.canon import canonical
from store.records import SnapshotRow

FEW = 20
"""Below this many rows a preflight says that there are few."""


@dataclass(frozen=True, slots=True)
class _LastAnswer:
    """The limits of a configuration, with the last answer alone trained: the earlier ones were not judged."""

    max_length: int
    system: str
    template: str | None
    train_turns: str = "last"

    @classmethod
    def of(cls, config: RowLimits) -> _LastAnswer:
        return cls(config.max_length, config.system, config.template)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A preference as tokens: the row of each answer, which have at least their first `prompt` tokens in common."""

    chosen: Example
    rejected: Example

    @property
    def prompt(self) -> int:
        """How many tokens come before the answers."""
        return min(self.chosen.n_prompt, self.rejected.n_prompt)

    @property
    def says_something(self) -> bool:
        """Whether the answers differ in tokens that the row still has."""
        return self.chosen.ids != self.rejected.ids


Contrasts = dict[str, dict[int, Contrast]]
"""Preferences as tokens, by split and by the row's `ord`."""


def contrasts(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Contrasts:
    """The preferences of the train and val splits as tokens, in their order; those that cannot be rendered are left
    out (`check_preferences` makes them problems)."""
    chosen, rejected = (tokenise(each, template, _LastAnswer.of(config)) for each in (rows, _rejected(rows)))
    return _together(chosen, rejected)


def check_preferences(
    rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits, *, whole: bool = False
) -> Preflight:
    """Check the rows of preferences: both answers as SFT checks its one, and that they say which is better.

    With `whole`, answers that are cut off are a problem: the end is what is read of them.
    """
    limits, others = _LastAnswer.of(config), _rejected(rows)
    chosen, rejected = tokenise(rows, template, limits), tokenise(others, template, limits)
    one, two = judge(rows, chosen, template, limits), judge(others, rejected, template, limits)
    both = _together(chosen, rejected)
    by_ord = {row.ord: row for row in rows}
    problems = one.problems + [f"Rejected answers: {text}" for text in two.problems if text not in one.problems]
    equal = [ord for split in both.values() for ord, row in split.items() if not row.says_something]
    if equal:
        problems.append(
            f"{subject([by_ord[ord] for ord in equal])} the same tokens for the chosen and the rejected answer: the"
            f" template, or the max length of {config.max_length:,} tokens, takes away what differs."
        )
    if whole and (cut := sorted({*one.truncated, *two.truncated})):
        problems.append(
            f"{subject([by_ord[number - 1] for number in cut])} more tokens than the max length of"
            f" {config.max_length:,}: a reward model reads the end of an answer, so none may be cut. Raise it, or take"
            " these rows out."
        )
    notes = one.notes + [f"Rejected answers: {text}" for text in two.notes if text not in one.notes]
    notes += _contradictions(rows) + _few(one.rows, "preference")
    return replace(
        one,
        tokens=one.tokens + two.tokens,
        trained_tokens=one.trained_tokens + two.trained_tokens,
        truncated=sorted({*one.truncated, *two.truncated}),
        masked=sorted({*one.masked, *two.masked}),
        empty=sorted({*one.empty, *two.empty}),
        longest=max(one.longest, two.longest),
        prefix_tokens=min(one.prefix_tokens, two.prefix_tokens),
        eot_trained=one.eot_trained and two.eot_trained,
        samples=[sample for pair in zip(one.samples, two.samples, strict=False) for sample in pair],
        problems=problems,
        notes=notes,
    )


class FeedbackLimits(RowLimits, Protocol):
    """What a preflight of feedback reads of a TrainConfig."""

    @property
    def good_weight(self) -> float:
        """Weight of answers that were judged good."""

    @property
    def bad_weight(self) -> float:
        """Weight of answers that were judged bad."""


def answers(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Tokenised:
    """The judged answers of the train and val splits as tokens, in their order."""
    return tokenise(rows, template, _LastAnswer.of(config))


def check_feedback(rows: Sequence[SnapshotRow], template: ChatTemplate, config: FeedbackLimits) -> Preflight:
    """Check the rows of feedback: each as SFT checks its answers, and that there are good ones and bad ones."""
    limits = _LastAnswer.of(config)
    found = judge(rows, tokenise(rows, template, limits), template, limits)
    train = [row for row in rows if row.split == "train"]
    good, bad = (sum(row.good is judged for row in train) for judged in (True, False))
    problems, notes = list(found.problems), list(found.notes)
    if train and not (good and bad):
        kind = "good" if good else "bad"
        problems.append(
            f"All {len(train)} answers to train on were judged {kind}: what is learned is the difference between good"
            " and bad ones, so both are needed."
        )
    elif train:
        notes.append(f"{good} answers to train on were judged good, {bad} bad.{_balance(good, bad, config)}")
    notes += _two_minds(train) + _few(len(train), "judged answer")
    return replace(found, problems=problems, notes=notes)


def _balance(good: int, bad: int, config: FeedbackLimits) -> str:
    """Advice where weighted numbers of good and bad answers lie apart: Eq. 8 of the KTO paper wants 1 to 4/3."""
    share = good * config.good_weight / (bad * config.bad_weight)
    if 1 / 2 <= share <= 2:
        return ""
    few, weight = ("bad", good * config.good_weight / bad) if share > 1 else ("good", bad * config.bad_weight / good)
    return f" To count equally, the {few} ones need a weight of {weight:.2g} (--{few}-weight)."


def _two_minds(rows: Sequence[SnapshotRow]) -> list[str]:
    """A note on answers that were judged both good and bad, to the same prompt."""
    said = {(canonical(row.messages), row.good) for row in rows}
    both = sum((messages, False) in said for messages, good in said if good)
    if not both:
        return []
    many = "1 answer was" if both == 1 else f"{both} answers were"
    return [f"{many} judged good and bad, to the same prompt. Such rows cancel each other out."]


def _rejected(rows: Sequence[SnapshotRow]) -> list[SnapshotRow]:
    """The same rows with the rejected answer in the place of the chosen one."""
    return [
        replace(row, messages=[*row.messages[:-1], {"role": "assistant", "content": row.rejected or ""}])
        for row in rows
    ]


def _together(chosen: Tokenised, rejected: Tokenised) -> Contrasts:
    """Both answers of each row that could be rendered with either."""

    def pairs(one: dict[int, Example], two: dict[int, Example]) -> Iterator[tuple[int, Contrast]]:
        return ((ord, Contrast(row, two[ord])) for ord, row in one.items() if ord in two)

    return {"train": dict(pairs(chosen.train, rejected.train)), "val": dict(pairs(chosen.val, rejected.val))}


def _contradictions(rows: Sequence[SnapshotRow]) -> list[str]:
    """A note on answers that one row prefers and another rejects, to the same prompt."""
    said = {(canonical(row.messages[:-1]), row.messages[-1]["content"], row.rejected) for row in rows}
    turned = sum((prompt, rejected, chosen) in said for prompt, chosen, rejected in said) // 2
    if not turned:
        return []
    many = "1 preference contradicts" if turned == 1 else f"{turned} preferences contradict"
    return [f"{many} another one: the same two answers, the other way round. They cancel each other out."]


def _few(many: int, what: str) -> list[str]:
    if many >= FEW:
        return []
    return [f"There {'is' if many == 1 else 'are'} only {many} {what}{'' if many == 1 else 's'} to train on."]
