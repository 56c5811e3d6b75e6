"""`tuningfork preflight`: what a run would be trained on, how long it would take and how much memory, before it starts.
The objective checks the rows; engine.training.estimate estimates."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.cli.command import Command
from tui.cli.config_options import config_of, config_options
from tui.cli.options import dataset_option, options_named
from tui.cli.output import Progress, emit, emit_json, fields, say
from tui.cli.session import session
from tui.formatting import count, duration, size
from tui.text import clean

if TYPE_CHECKING:
    from engine.training.config import TrainConfig
    from engine.training.preflight import Preflight
    from store.records import Snapshot


@click.command(
    "preflight",
    cls=Command,
    example="""
    tuningfork preflight --dataset ember
    tuningfork preflight --dataset support --model ./my-model --max-length 512 --json
    """,
)
@dataset_option
@config_options
def preflight(dataset: str, **given: Any) -> None:
    """Check a dataset against a model without training.

    Counts tokens, and rows that are cut or empty; estimates time and memory; shows rows as the model reads them,
    with the trained parts marked. Fails when a run on this data would fail.
    """
    from engine.training.config import FIELDS

    with options_named(FIELDS):
        show(dataset, config_of(given))


def show(dataset: str, config: TrainConfig, snapshot: Snapshot | None = None) -> None:
    """Print what a run of this configuration would be, on the dataset as it is now or on a snapshot; starts nothing.

    BadInput when the run would fail.
    """
    from engine.models import refs
    from engine.training import continuing, rewards, run_control
    from engine.training.calibration import calibrated
    from engine.training.capacity import capacity
    from engine.training.data import freeze
    from engine.training.estimate import estimate, machine
    from engine.training.methods import METHODS
    from engine.training.model_check import check_model, with_method
    from engine.training.model_facts import model_facts
    from engine.training.objectives import OBJECTIVES
    from engine.training.preflight import template_of
    from engine.training.watched_probes import read
    from store import datasets

    store = session().store
    frozen = snapshot or freeze(store, dataset, config.objective)
    config, continues = continuing.settled(store, config)
    config = rewards.settled(store, config)
    rows, left_out = rewards.rewarded(store, config, datasets.snapshot_rows(store, frozen.hash))
    base = refs.resolve(store, config.model)
    config, why = with_method(config, base)
    check_model(base, config)
    with Progress("Preparing") as progress:

        def on_line(line: str) -> None:
            progress.clear()
            say(line)

        folder = run_control.prepare(store, config.model, on_line=on_line)
    model_notes = [*check_model(base, config, folder), *read(store, config.watch, rows)[1]]
    found = OBJECTIVES[config.objective].preflight(rows, template_of(folder, config), config)
    found = replace(
        found, notes=[*filter(None, [continues, rewards.said(config)]), *left_out, *model_notes, *found.notes]
    )
    room = capacity(config, model_facts(folder), found.trained_tokens)
    here = machine()
    guess = calibrated(store, replace(estimate(config, found, model_facts(folder), here), why=why), config, here)
    if session().as_json:
        emit_json(
            {
                "dataset": dataset,
                "model": config.model,
                **asdict(found),
                "ok": found.ok,
                "estimate": asdict(guess),
                "capacity": {**asdict(room), "enough": room.enough},
            }
        )
    else:
        _print(found, METHODS[config.method].exports(config), judged=OBJECTIVES[config.objective].needs != "pairs")
        takes = f"{duration(guess.seconds)} and {size(guess.memory_bytes)} of memory"
        emit(f"A run of {count(guess.steps, 'step')} takes about {takes}.")
        emit(f"Capacity: {room}.")
        if guess.why:
            emit(guess.why)
        if guess.note:
            emit(guess.note)
    if not found.ok:
        raise BadInput(
            " ".join(found.problems), where=f"dataset {dataset}", todo="Correct those rows, or take them out."
        )


def _print(found: Preflight, exports: tuple[str, ...], *, judged: bool) -> None:
    marked = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for sample in found.samples:
        for trained, pieces in groupby(sample, key=lambda piece: piece[1]):
            shown = clean("".join(text for text, _ in pieces))
            click.echo((click.style(shown, reverse=True) if marked else f"[[{shown}]]") if trained else shown, nl=False)
        click.echo("\n")
    if found.samples:
        marked_parts = "The model learns to write the marked parts"
        say(f"{'The marked parts are what was judged' if judged else marked_parts}; it only reads the rest.")
    fields(
        (
            ("rows", f"{found.rows:,} to train on, {found.val_rows:,} to validate"),
            ("tokens", f"{found.tokens:,}, of them {found.trained_tokens:,} trained"),
            ("answers", f"{found.trained_turns:,} of {found.turns:,} trained"),
            ("longest", f"{found.longest:,} tokens"),
            ("shared prefix", f"{found.prefix_tokens:,} tokens"),
            ("cut off", len(found.truncated)),
            ("nothing to train", len(found.masked)),
            ("no answer", len(found.empty)),
            *(("note", note) for note in found.notes),
            ("end of turn", "trained" if found.eot_trained else "NOT trained: the model would not learn to stop"),
            ("exports as", ", ".join(exports)),
        )
    )
