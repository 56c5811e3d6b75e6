"""Reads every row as training will, before a model is loaded: what is trained, what is cut off, what cannot work.
Light: the template and the rows, no torch and no store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Protocol

from engine.models.chat_template import MASKED, ChatTemplate, Example
from store.errors import BadInput
from store.records import SnapshotRow

SAMPLES = 3
ROW_FIELDS = (
    "max_length",
    "train_turns",
    "system",
    "template",
    "group_size",
    "answer_tokens",
    "good_weight",
    "bad_weight",
)
"""The fields of a configuration that decide how rows become tokens, and what a preflight says of them."""
_NAMED_ROWS = 5


class RowLimits(Protocol):
    """What a preflight reads of a TrainConfig."""

    @property
    def system(self) -> str:
        """What happens to system texts that the template does not take: refuse or fold."""

    @property
    def template(self) -> str | None:
        """The chat template that replaces the model's own: a name, a text or a file."""

    @property
    def max_length(self) -> int:
        """Tokens of the longest row; longer ones are cut."""

    @property
    def train_turns(self) -> str:
        """Which of a row's assistant turns are trained: all or last."""


@dataclass(frozen=True)
class Tokenised:
    """Rows as tokens: what `judge` checks and what a run trains on, by the row's `ord`.

    `refused` holds the rows that the template cannot render, by the reason.
    """

    train: dict[int, Example]
    val: dict[int, Example]
    refused: dict[str, list[int]]


@dataclass(frozen=True)
class Preflight:
    """What a run on these rows will train. Counts are of the train split, in tokens; lists hold the rows' numbers,
    counted from 1 over the whole snapshot.

    Of `turns` assistant turns `trained_turns` are trained; in the `last_only` rows the template does not tell the
    earlier ones apart, and of the `lost_reasoning` rows it does not show the reasoning. `truncated` rows lose their end
    to the max length, `masked` rows have nothing left to train, `empty` rows have no answer. `samples` show some rows
    as (text, trained) pieces. With `problems` a run does not start; `notes` are warnings.
    """

    rows: int
    val_rows: int
    tokens: int
    trained_tokens: int
    truncated: list[int]
    masked: list[int]
    empty: list[int]
    longest: int
    prefix_tokens: int
    eot_trained: bool
    samples: list[list[tuple[str, bool]]]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    turns: int = 0
    trained_turns: int = 0
    last_only: list[int] = field(default_factory=list)
    lost_reasoning: list[int] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether a run may start on this data."""
        return not self.problems

    def require(self) -> Preflight:
        """Return self, or raise BadInput with the problems."""
        if self.problems:
            todo = "Run `tuningfork preflight` to see the rows as the model reads them, then correct them."
            raise BadInput("Training cannot start on this data: " + " ".join(self.problems), todo=todo)
        return self


def template_of(folder: Path, config: RowLimits) -> ChatTemplate:
    """The chat template of a run on this base folder. Raises what `ChatTemplate.load` raises."""
    return ChatTemplate.load(folder, system=config.system, template=config.template)


def check(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Preflight:
    """Tokenise all rows of the train and val splits and check them. Rows that cannot be rendered become problems."""
    return judge(rows, tokenise(rows, template, config), template, config)


def tokenise(rows: Sequence[SnapshotRow], template: ChatTemplate, config: RowLimits) -> Tokenised:
    """The rows of the train and val splits as tokens, in their order."""
    made = Tokenised({}, {}, {})
    for row in rows:
        if row.split == "test":
            continue
        try:
            example = template.example(row.messages, config.max_length, last_turn=config.train_turns == "last")
        except BadInput as error:
            made.refused.setdefault(error.what, []).append(row.ord)
        else:
            (made.train if row.split == "train" else made.val)[row.ord] = example
    return made


def judge(rows: Sequence[SnapshotRow], tokenised: Tokenised, template: ChatTemplate, config: RowLimits) -> Preflight:
    """What training on these rows, which `tokenise` made into tokens, will be like."""
    train, val = tokenised.train, tokenised.val
    by_ord = {row.ord: row for row in rows}

    def named(ords: Sequence[int]) -> str:
        return subject([by_ord[ord] for ord in ords])

    problems = [
        f"{named(ords)} a problem: {what}{_fold_hint([by_ord[ord] for ord in ords], template)}"
        for what, ords in tokenised.refused.items()
    ]
    everything = {**train, **val}
    empty = [row.ord for row in rows if row.split != "test" and not row.messages[-1]["content"].strip()]
    masked = [ord for ord, example in everything.items() if not example.n_trained]
    truncated = [ord for ord, example in everything.items() if example.truncated]
    last_only = [ord for ord, example in everything.items() if example.last_only]
    lost_reasoning = [ord for ord, example in everything.items() if example.lost_reasoning]
    unstopped = [ord for ord, e in everything.items() if e.n_trained and not e.truncated and not e.eot_trained]

    if not train and not problems:
        problems.append("No row is in the train split.")
    if empty:
        problems.append(f"{named(empty)} no answer.")
    if masked:
        limit = f"the max length of {config.max_length:,} tokens"
        problems.append(f"{named(masked)} nothing to train: the question alone fills {limit}.")
    if unstopped:
        problems.append(f"{named(unstopped)} no trained end-of-turn token: the model would not learn to stop.")

    ends = any(template.eot_id in example.labels for example in train.values())  # also those of earlier answers
    if truncated and train and not ends and not unstopped and len(masked) < len(everything):
        problems.append(
            f"Every row to train on is longer than the max length of {config.max_length:,} tokens, so none keeps the"
            " token that ends its answer: the model would not learn to stop. Raise the max length."
        )

    notes = []
    if template.folds_system:
        many = sum(m["role"] == "system" for row in rows if row.ord in everything for m in row.messages[:1])
        notes.append(
            f"This model's chat template takes no system text: that of {_count(many, 'row')} is put before the first"
            " question, as it will be in chat and exports of the run."
        )
    if lost_reasoning:
        notes.append(
            f"{_count(len(lost_reasoning), 'row loses its', 'rows lose their')} reasoning: this model's chat template"
            " shows an answer without what stands before </think>, and is trained like that."
        )
    if last_only:
        many = f"{len(last_only)} row trains" if len(last_only) == 1 else f"{len(last_only)} rows train"
        notes.append(
            f"{many} only the last answer: this model's chat template does not show the earlier ones as the model would"
            " have written them."
        )
    if truncated:
        notes.append(
            f"{named(truncated)} more tokens than the max length of {config.max_length:,}: the end is cut off."
        )
    if marked := _with_control_tokens(rows, template):
        notes.append(f"{named(marked)} a control token of the model in its text, such as {_some(template)}.")

    examples = list(train.values())
    return Preflight(
        rows=len(train),
        val_rows=len(val),
        tokens=sum(len(e.ids) for e in examples),
        trained_tokens=sum(e.n_trained for e in examples),
        truncated=_numbers(truncated),
        masked=_numbers(masked),
        empty=_numbers(empty),
        longest=max((len(e.ids) for e in examples), default=0),
        prefix_tokens=_shared(examples),
        eot_trained=bool(examples)
        and all(e.eot_trained or e.truncated for e in examples)
        and any(e.eot_trained for e in examples),
        samples=[show(example, template) for example in examples[:SAMPLES]],
        problems=problems,
        notes=notes,
        turns=sum(m["role"] == "assistant" for row in rows if row.ord in train for m in row.messages),
        trained_turns=sum(e.turns for e in examples),
        last_only=_numbers(last_only),
        lost_reasoning=_numbers(lost_reasoning),
    )


def show(example: Example, template: ChatTemplate) -> list[tuple[str, bool]]:
    """The row as (text, trained) pieces, one for each token."""
    return [(piece, label != MASKED) for piece, label in zip(template.pieces(example.ids), example.labels, strict=True)]


def _shared(examples: Sequence[Example]) -> int:
    """How many tokens all prompts begin with: computed once by shared-prefix packing."""
    prompts = [example.ids[: example.n_prompt] for example in examples]
    columns = zip(*prompts, strict=False) if len(prompts) > 1 else ()
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def _with_control_tokens(rows: Sequence[SnapshotRow], template: ChatTemplate) -> list[int]:
    tokens = [token for token in template.control_tokens if token]
    return [r.ord for r in rows if r.split != "test" and any(t in m["content"] for m in r.messages for t in tokens)]


def _some(template: ChatTemplate) -> str:
    return template.tokenizer.id_to_token(template.eot_id)


def _fold_hint(refused: Sequence[SnapshotRow], template: ChatTemplate) -> str:
    """What helps rows that were refused for their system text; '' for others."""
    if template.takes_system or not any(m["role"] == "system" for row in refused for m in row.messages):
        return ""
    return " The template takes no system text: --system fold (System text: fold) puts it before the first question."


def _numbers(ords: Sequence[int]) -> list[int]:
    return [ord + 1 for ord in ords]


def _count(many: int, one: str, more: str = "") -> str:
    return f"{many} {one if many == 1 else more or one + 's'}"


def name_of(row: SnapshotRow) -> str:
    """How messages name a row: its number from 1, with file, line and pair where they are known."""
    file, line = row.source.get("file"), row.source.get("line")
    places = [f"{file} line {line}" if line else str(file)] if file else []
    places += [f"pair {row.pair_uid}"] if row.pair_uid else []
    return f"{row.ord + 1}" + (f" ({', '.join(places)})" if places else "")


def pairs_named(message: str) -> list[str]:
    """Uids of the pairs that a message names as `name_of` writes them, in its order.

    >>> pairs_named("Rows 1 (qa.jsonl line 7, pair 0R5K8ZC3T9QW) and 2 (pair 0R5K8ZC3T9QX) have no answer.")
    ['0R5K8ZC3T9QW', '0R5K8ZC3T9QX']
    """
    return re.findall(r"\bpair ([0-9A-Za-z]{12})\)", message)


def subject(rows: Sequence[SnapshotRow]) -> str:
    """ "Row 3 (qa.jsonl line 7) has", "Rows 1, 2 and 7 more have": the subject of a sentence."""
    if len(rows) == 1:
        return f"Row {name_of(rows[0])} has"
    shown, more = [name_of(row) for row in rows[:_NAMED_ROWS]], len(rows) - _NAMED_ROWS
    names = ", ".join(shown) + f" and {more} more" if more > 0 else ", ".join(shown[:-1]) + f" and {shown[-1]}"
    return f"Rows {names} have"
