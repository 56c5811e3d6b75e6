"""Rows as prompts: their questions as tokens, and what a preflight of a run that answers them itself finds.
Light: the template and the rows, no torch and no store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.models.chat_template import ChatTemplate
from engine.training.preflight import SAMPLES, Preflight, RowLimits, subject
from store.errors import BadInput
from store.records import Message, SnapshotRow


class AnswerLimits(RowLimits, Protocol):
    """What a preflight of prompts reads of a TrainConfig."""

    @property
    def objective(self) -> str:
        """What the run trains towards."""

    @property
    def group_size(self) -> int:
        """Answers to each prompt."""

    @property
    def answer_tokens(self) -> int:
        """Tokens of an answer at most."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A row's conversation up to its last question, as messages and as tokens, and the answer that the data gives."""

    messages: list[Message]
    ids: list[int]
    expected: str


def prompts(rows: Sequence[SnapshotRow], template: ChatTemplate) -> list[Prompt]:
    """The prompts of the train split, in their order. Raises BadInput for one that cannot be rendered."""
    return [
        Prompt(row.messages[:-1], template.encode(row.messages[:-1]), row.messages[-1]["content"])
        for row in rows
        if row.split == "train"
    ]


def check_prompts(rows: Sequence[SnapshotRow], template: ChatTemplate, config: AnswerLimits) -> Preflight:
    """Check the rows of a run that answers their questions itself. A prompt must leave space for an answer."""
    train = [row for row in rows if row.split == "train"]
    refused: dict[str, list[SnapshotRow]] = {}
    lengths: dict[int, int] = {}
    samples: list[list[tuple[str, bool]]] = []
    for row in train:
        try:
            ids = template.encode(row.messages[:-1])
        except BadInput as error:
            refused.setdefault(error.what, []).append(row)
            continue
        lengths[row.ord] = len(ids)
        if len(samples) < SAMPLES:
            samples.append([(piece, False) for piece in template.pieces(ids)])
    space = config.max_length - config.answer_tokens
    long = [row for row in train if lengths.get(row.ord, 0) > space]
    problems = [f"{subject(found)} a problem: {what}" for what, found in refused.items()]
    if not train:
        problems.append("No row is in the train split.")
    if long:
        problems.append(
            f"{subject(long)} more tokens than are left beside an answer of {config.answer_tokens:,} in the max length"
            f" of {config.max_length:,}. Raise it, or take these rows out."
        )
    notes = ["The estimate counts training; the time in which the model writes its answers comes on top."]
    if others := sum(row.split == "val" for row in rows):
        notes.append(
            f"The {others} rows of the val split are not used: a run towards {config.objective} has no validation loss."
        )
    answers = len(train) * config.group_size
    return Preflight(
        rows=len(train),
        val_rows=0,
        tokens=config.group_size * (sum(lengths.values()) + len(train) * config.answer_tokens),
        trained_tokens=answers * config.answer_tokens,
        truncated=[],
        masked=[],
        empty=[],
        longest=max(lengths.values(), default=0) + config.answer_tokens,
        prefix_tokens=0,
        eot_trained=True,
        samples=samples,
        problems=problems,
        notes=notes,
        turns=answers,
        trained_turns=answers,
    )
