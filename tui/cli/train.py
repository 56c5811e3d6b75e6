"""`tuningfork train`: from a dataset to a run.
The options of the configuration are config_options.py's; the training itself is a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput, Conflict
from store.records import state_word
from tui.cli import preflight
from tui.cli.command import Command
from tui.cli.config_options import config_of, config_options, read_config, replaces
from tui.cli.following import follow, run_json, watch_command
from tui.cli.options import DATASET, options_named
from tui.cli.output import emit, emit_json, say
from tui.cli.runs import show_started
from tui.cli.session import session
from tui.formatting import count

if TYPE_CHECKING:
    from engine.training.config import TrainConfig
    from engine.training.config_files import ConfigFile


@click.command(
    "train",
    cls=Command,
    example="""
    tuningfork train --dataset ember
    tuningfork train --dataset support --recipe instruct --epochs 2 --lr 2e-4 --name support-2 --wait
    tuningfork train --dataset support --model ./my-model --method lora --rank 8 --json
    tuningfork train --dataset votes --objective dpo --on run:ember
    tuningfork train --dataset support --method full --launcher torchrun --processes 2 --shard
    tuningfork train --config run.yaml --epochs 2 --dry-run
    """,
)
@click.option("--dataset", type=DATASET, metavar="NAME", help="Train on this dataset, as it is now.")
@click.option("--snapshot", metavar="HASH", help="Train on this snapshot of a dataset instead.")
@click.option("--name", metavar="RUN", help="The run's name. [default: the dataset's name and a number]")
@config_options
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), metavar="FILE",
    help="Read settings from a YAML file: the names of these options, with dataset, snapshot and name. Options that"
    " are typed replace what it says.",
)  # fmt: skip
@click.option("--print-config", is_flag=True, help="Print all settings as such a file, and start nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would happen, as preflight does, and start nothing.")
@click.option("--wait", is_flag=True, help="Follow the run until it ends.")
def train(
    dataset: str | None,
    snapshot: str | None,
    name: str | None,
    wait: bool,
    config_file: Path | None,
    print_config: bool,
    dry_run: bool,
    **given: Any,
) -> None:
    """Tune a model on a dataset. The run is a process of its own: it keeps running when this terminal closes."""
    from engine.models.refs import Ref
    from engine.training import run_control
    from engine.training.config import FIELDS
    from engine.training.methods import METHODS
    from engine.training.objectives import OBJECTIVES
    from store import runs

    file = read_config(config_file) if config_file else None
    if file is not None:
        dataset, snapshot, name = _with_file(file, dataset, snapshot, name)
    if print_config:
        _print_config(config_of(given, file), {"dataset": dataset, "snapshot": snapshot, "name": name})
        return
    if bool(dataset) == bool(snapshot):
        raise BadInput("Give either --dataset or --snapshot.", todo="List them: tuningfork data list")
    store = session().store
    config = config_of(given, file)
    if dry_run:
        if name in run_control.names(store):
            raise Conflict(f"There is a run named {name} already.", where="--name", todo="Choose another name.")
        with options_named(FIELDS):
            preflight.show(dataset or "", config, _data(dataset, snapshot) if snapshot else None)
        say("Nothing was started.")
        return
    with options_named(FIELDS):
        run = run_control.submit(store, config, _data(dataset, snapshot), name)
    for sentence in METHODS[run.method].limits(config):
        say(sentence)
    for event in () if wait else runs.events(store, run.id):  # what a user must know before it starts
        say(str(event.body.get("text", "")))
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


def _with_file(
    file: ConfigFile, dataset: str | None, snapshot: str | None, name: str | None
) -> tuple[str | None, str | None, str | None]:
    """Dataset, snapshot and name: those that were typed, else the file's. A typed dataset replaces a file's snapshot,
    and the other way round."""
    typed = {"dataset": dataset, "snapshot": snapshot, "name": name}
    data = bool(dataset or snapshot)
    for key, value in file.run.items():
        if typed[key] is not None:
            replaces(file, key, value)
        elif data and key != "name":
            say(f"--{'dataset' if dataset else 'snapshot'} replaces {key}: {value} ({file.place(key)}).")
        else:
            typed[key] = value
    return typed["dataset"], typed["snapshot"], typed["name"]


def _print_config(config: TrainConfig, run: dict[str, str | None]) -> None:
    from engine.training import config_files

    if session().as_json:
        emit_json({**run, "config": config.to_json(), "config_hash": config.hash()})
    else:
        emit(config_files.write(config, run).rstrip())


def _data(dataset: str | None, snapshot: str | None) -> Any:
    from store import datasets

    return datasets.snapshot(session().store, snapshot) if snapshot else dataset


def _rows(snapshot: str) -> int:
    from store import datasets

    return datasets.snapshot(session().store, snapshot).rows
