"""A dataset in a model's tokens: how long its rows are, how many steps a pass takes, and how long the recipe would run.
Reads the ready pairs of the store as a run would, freezes and starts nothing; no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.models import default_model, refs
from engine.models.chat_template import ChatTemplate, Example
from engine.models.prepare import prepare
from engine.training.calibration import calibrated
from engine.training.config import TrainConfig
from engine.training.data import rows_of
from engine.training.estimate import estimate, machine, total_steps
from engine.training.model_check import check_model, with_method
from engine.training.model_facts import model_facts
from engine.training.preflight import judge, template_of, tokenise
from store.curate.histogram import LengthSpread, spread
from store.curate.statistics import bars_as_json, lengths_as_json
from store.db import Store
from store.records import SnapshotRow

_BATCH = 100
_WHOLE = 10_000_000
"""Tokens that no row reaches: the length of one that is cut off is that of the whole."""


@dataclass(frozen=True, slots=True)
class DatasetCosts:
    """What a run by a recipe would read and take.

    Lengths are in tokens, of the rows to train and to validate on: `row_tokens` with the template around them, uncut,
    and `trained_tokens` those that are learned. `truncated` rows are longer than `max_length`; `refused` are those that
    the template cannot render. A pass over the train rows takes `steps_per_pass` steps, the run `steps` and about
    `seconds`. `problems` are reasons why it would not start.
    """

    model: str
    recipe: str
    rows: int
    row_tokens: LengthSpread
    trained_tokens: LengthSpread
    max_length: int
    truncated: int
    refused: int
    steps_per_pass: int
    steps: int
    seconds: float
    memory_bytes: int
    problems: list[str]

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        names = ("model", "recipe", "rows", "max_length", "truncated", "refused", "steps_per_pass", "steps", "seconds",
                 "memory_bytes", "problems")  # fmt: skip
        lengths = {"row_tokens": self.row_tokens, "trained_tokens": self.trained_tokens}
        return {
            **{name: getattr(self, name) for name in names},
            **{name: lengths_as_json(each) for name, each in lengths.items()},
            "histograms": {name: bars_as_json(each) for name, each in lengths.items()},
        }


def prepared_default(store: Store) -> str | None:
    """The default model's reference when its folder is ready to be read, else None: nothing is prepared for a count."""
    return default_model.NAME if default_model.prepared(store.home) is not None else None


def costs(
    store: Store,
    dataset: str,
    config: TrainConfig,
    on_line: Callable[[str], None] | None = None,
    on_progress: Callable[[int], object] = lambda done: None,
) -> DatasetCosts | None:
    """What a run of this configuration on the dataset would read and take; None without a ready pair to train on.

    Prepares the model when that was never done. `on_progress` gets the rows that were counted. Raises NotFound,
    BadInput, Unsupported, NoSpace or WorkerError.
    """
    rows = [row for row in rows_of(store, dataset, config.objective) if row.split != "test"]
    if not any(row.split == "train" for row in rows):
        return None
    base = refs.resolve(store, config.model)
    config, _ = with_method(config, base)
    check_model(base, config)
    folder: Path = prepare(store, config.model, on_line)
    check_model(base, config, folder)
    template = template_of(folder, config)
    made = tokenise([], template, config)
    for start in range(0, len(rows), _BATCH):
        on_progress(start)
        part = tokenise(rows[start : start + _BATCH], template, config)
        made.train.update(part.train)
        made.val.update(part.val)
        for what, ords in part.refused.items():
            made.refused.setdefault(what, []).extend(ords)
    found = judge(rows, made, template, config)
    here = machine()
    guess = calibrated(store, estimate(config, found, model_facts(folder), here), config, here)
    examples = {**made.train, **made.val}
    whole = _whole(rows, examples, template, config)
    return DatasetCosts(
        model=config.model,
        recipe=config.recipe,
        rows=len(examples),
        row_tokens=spread(len(example.ids) for example in whole.values()),
        trained_tokens=spread(example.n_trained for example in whole.values()),
        max_length=config.max_length,
        truncated=len(found.truncated),
        refused=sum(len(ords) for ords in made.refused.values()),
        steps_per_pass=total_steps(replace(config, steps=None, epochs=1.0), found.rows),
        steps=guess.steps,
        seconds=guess.seconds,
        memory_bytes=guess.memory_bytes,
        problems=found.problems,
    )


def _whole(
    rows: Sequence[SnapshotRow], examples: dict[int, Example], template: ChatTemplate, config: TrainConfig
) -> dict[int, Example]:
    """The examples with those that were cut read again in full."""
    cut = [row for row in rows if row.ord in examples and examples[row.ord].truncated]
    last = config.train_turns == "last"
    return examples | {row.ord: template.example(row.messages, _WHOLE, last_turn=last) for row in cut}
