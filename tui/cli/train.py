"""`tuningfork train`: from a dataset to a run.
The options of the configuration are config_options.py's; the training itself is a process of its own."""

from __future__ import annotations

from typing import Any

import click

from store.errors import BadInput
from store.records import state_word
from tui.cli.command import Command
from tui.cli.config_options import config_of, config_options
from tui.cli.following import follow, run_json, watch_command
from tui.cli.options import DATASET
from tui.cli.output import emit, emit_json, say
from tui.cli.runs import show_started
from tui.cli.session import session
from tui.formatting import count


@click.command(
    "train",
    cls=Command,
    example="""
    tuningfork train --dataset ember
    tuningfork train --dataset support --recipe instruct --epochs 2 --lr 2e-4 --name support-2 --wait
    tuningfork train --dataset support --model ./my-model --method lora --rank 8 --json
    """,
)
@click.option("--dataset", type=DATASET, metavar="NAME", help="Train on this dataset, as it is now.")
@click.option("--snapshot", metavar="HASH", help="Train on this snapshot of a dataset instead.")
@click.option("--name", metavar="RUN", help="The run's name. [default: the dataset's name and a number]")
@config_options
@click.option("--wait", is_flag=True, help="Follow the run until it ends.")
def train(dataset: str | None, snapshot: str | None, name: str | None, wait: bool, **given: Any) -> None:
    """Tune a model on a dataset. The run is a process of its own: it keeps running when this terminal closes."""
    from engine.models.refs import Ref
    from engine.training import run_control
    from engine.training.methods import METHODS
    from engine.training.objectives import OBJECTIVES
    from store import runs

    if bool(dataset) == bool(snapshot):
        raise BadInput("Give either --dataset or --snapshot.", todo="List them: tuningfork data list")
    store = session().store
    config = config_of(given)
    run = run_control.submit(store, config, _data(dataset, snapshot), name)
    for sentence in METHODS[run.method].limits(config):
        say(sentence)
    session().on_interrupt = f"Run {run.name} is in the queue."
    session().next_step = f"Follow it: {watch_command(run.name)}"
    run_control.start(store, run.name)
    if not wait:
        show_started(runs.get(store, run.name))
        return
    say(f"Run {run.name} trains on {count(_rows(run.snapshot), 'row')}. Ctrl-C stops following it, not the run.")
    ended = follow(store, run.name)
    if session().as_json:
        emit_json(run_json(store, ended))
    else:
        emit(f"Run {ended.name} is {state_word(ended.state)} after {count(ended.step, 'step')}.")
        before, tuned = ended.config.get("on") or ended.base, Ref.run(ended.name)
        if OBJECTIVES[config.objective].answers:
            say(f"Compare it: tuningfork compare --a {before} --b {tuned} --prompt TEXT{session().flags()}")
        else:
            say(f"Score answers with it: tuningfork score {tuned} --dataset NAME{session().flags()}")


def _data(dataset: str | None, snapshot: str | None) -> Any:
    from store import datasets

    return datasets.snapshot(session().store, snapshot) if snapshot else dataset


def _rows(snapshot: str) -> int:
    from store import datasets

    return datasets.snapshot(session().store, snapshot).rows
