"""Scores of answers by a finished reward model; the model itself is computed by the worker (worker/scoring.py)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.core import child, process
from engine.models import refs
from engine.models.refs import Ref
from engine.training import run_control
from store import runs, votes
from store.db import Store
from store.errors import BadInput, WorkerError
from store.records import Message, SnapshotRow, Vote


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a reward model scores the chosen answer of a preference above the rejected one: `right` of the rows,
    where a tie counts as half. `margins` holds score(chosen) - score(rejected) of each row.
    """

    margins: tuple[float, ...]

    @property
    def right(self) -> float:
        return sum(1.0 if margin > 0 else 0.5 if margin == 0 else 0.0 for margin in self.margins)

    @property
    def share(self) -> float:
        return self.right / len(self.margins)

    @property
    def margin(self) -> float:
        return sum(self.margins) / len(self.margins)


def scores(
    store: Store,
    model: str,
    answers: Sequence[Sequence[Message]],
    on_progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """The score of each conversation's last answer by the reward model `run:NAME` (or run:NAME@STEP).

    NotFound for an unknown run; BadInput when it is no reward model; WorkerError when its process fails.
    """
    ref = refs.parse_run(model)
    run = runs.get(store, ref.value)
    if refs.writes(run):
        what = f"Run {run.name} is not a reward model: it was trained towards {run.config.get('objective', 'sft')}."
        raise BadInput(what, where=model, todo="Train one: tuningfork train --objective reward --dataset NAME")
    found = refs.resolve_run(store, run, Ref.run(run.name, ref.step))
    request = {
        "folder": str(run_control.prepare(store, refs.resolve(store, run.base).ref)),
        "adapter": str(found.adapter),
        "config": run.config,
        "answers": [list(messages) for messages in answers],
    }
    made: list[float] | None = None
    with tempfile.TemporaryDirectory(prefix="score-", dir=store.home.root) as scratch:
        file = Path(scratch) / "request.json"
        file.write_text(json.dumps(request), "utf-8")
        with child.Child(process.command("score", str(file)), "Scoring answers", env=process.environment()) as work:
            for message in work.messages():
                if "scores" in message:
                    made = message["scores"]
                elif on_progress and "progress" in message:
                    on_progress(message["progress"], message["of"])
    if made is None:
        raise WorkerError("The process that scores answers ended without a result.", where=model)
    return made


def agreement(
    store: Store,
    model: str,
    preferences: Sequence[SnapshotRow],
    on_progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """How far a reward model agrees with preferences. BadInput when there is none."""
    if not preferences:
        raise BadInput("There is no preference to score.", todo="Name a dataset with preferences.")
    chosen = [row.messages for row in preferences]
    rejected = [[*row.messages[:-1], {"role": "assistant", "content": row.rejected or ""}] for row in preferences]
    made = scores(store, model, [*chosen, *rejected], on_progress)
    half = len(preferences)
    return Agreement(tuple(one - two for one, two in zip(made[:half], made[half:], strict=True)))


def reward_models(store: Store) -> list[str]:
    """The names of finished reward models, newest first."""
    return [run.name for run in runs.all_runs(store) if run.adapter and not refs.writes(run)]


def of_votes(
    store: Store, model: str, on_progress: Callable[[int, int], None] | None = None
) -> tuple[Agreement, dict[int, float]]:
    """How far a reward model agrees with the votes that have a winner, and for each such vote, by its id, by how much
    the preferred answer scores above the other. BadInput when no vote has a winner."""
    cast = [vote for vote in votes.all_votes(store) if vote.choice in ("a", "b")]
    rows = [_as_row(ord, vote) for ord, vote in enumerate(cast)]
    found = agreement(store, model, rows, on_progress)
    return found, {vote.id: margin for vote, margin in zip(cast, found.margins, strict=True)}


def _as_row(ord: int, vote: Vote) -> SnapshotRow:
    better, worse = (vote.a_text, vote.b_text) if vote.choice == "a" else (vote.b_text, vote.a_text)
    messages = [*vote.prompt, {"role": "assistant", "content": better}]
    return SnapshotRow(ord, "train", "preference", messages, "", rejected=worse)
