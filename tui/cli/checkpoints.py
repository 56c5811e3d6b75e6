"""`tuningfork runs checkpoints` and `runs result`: what a run saved, and which of it the run's name stands for.
Files are checked and chosen by engine.training.saved_checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.cli.command import Command
from tui.cli.following import fresh
from tui.cli.options import RUN
from tui.cli.output import emit, emit_json, say, table
from tui.cli.session import session
from tui.formatting import ago, count, size

if TYPE_CHECKING:
    from engine.training.saved_checkpoints import ListedCheckpoint, RunCheckpoints


@click.command(
    "checkpoints",
    cls=Command,
    example="""
    tuningfork runs checkpoints ember
    tuningfork runs checkpoints ember --json
    """,
)
@click.argument("name", type=RUN)
def checkpoints(name: str) -> None:
    """List what a run saved: step, what was measured there, size, which is the result, and what is damaged.

    Every file is read and compared with its hash. Chat with one as run:NAME@STEP.
    """
    from engine.training import saved_checkpoints, watched_probes

    found = saved_checkpoints.listed(fresh(), name)
    if session().as_json:
        emit_json(saved_checkpoints.to_json(found))
        return
    if not found.states:
        say(f"Run {name} has saved nothing{'' if found.run.ended_at else ' yet'}.")
        return
    probes = list(dict.fromkeys(each for state in found.states for each in state.probes))
    titles = [watched_probes.title(name) for name in probes]
    table(
        ("step", "saved", "loss", "val loss", *titles, "drift", "size", "kept as", "files"),
        (_row(each, probes) for each in found.states),
        right=("step", "loss", "val loss", *titles, "drift", "size"),
        wide="files",
    )
    say(_total(found))


def _row(each: ListedCheckpoint, probes: list[str]) -> tuple[Any, ...]:
    return (
        each.step,
        ago(each.saved_at) if each.saved_at else None,
        each.loss,
        each.val_loss,
        *(f"{each.probes[name]:.0%}" if name in each.probes else None for name in probes),
        each.drift,
        size(each.bytes),
        ", ".join(([("finished adapter")] if each.finished else []) + list(each.marks)),
        "whole" if each.damage is None else f"damaged: {each.damage}",
    )


def _total(found: RunCheckpoints) -> str:
    end = f", {size(found.end_bytes)} of them for more steps (runs resume --steps)" if found.end_bytes else ""
    return f"{count(len(found.checkpoints), 'checkpoint')}; {size(found.bytes)} on disk{end}."


@click.command(
    "result",
    cls=Command,
    example="""
    tuningfork runs result ember
    tuningfork runs result ember@40
    tuningfork runs result ember --reset
    """,
)
@click.argument("name", type=RUN, metavar="NAME[@STEP]")
@click.option("--reset", is_flag=True, help="Leave the result to what training kept.")
def result(name: str, reset: bool) -> None:
    """Show what a run's name stands for, or make one of its checkpoints that.

    With @STEP, run:NAME is that checkpoint from then on: in Compare, evaluations and exports. A checkpoint that is not
    as it was saved is refused. --reset goes back to what training kept: the finished adapter, or the newest checkpoint.
    """
    from engine.models import refs
    from engine.training import saved_checkpoints

    store, asked = fresh(), refs.parse_run(name)
    if reset and asked.step is not None:
        raise BadInput("A step and --reset exclude each other.", where="--reset", todo=f"Write {asked.value} --reset.")
    if reset or asked.step is not None:
        saved_checkpoints.make_result(store, asked.value, asked.step)
    found = saved_checkpoints.listed(store, asked.value)
    if session().as_json:
        emit_json({"run": found.run.name, **saved_checkpoints.result_json(found)})
        return
    emit(_result_words(found))


def _result_words(found: RunCheckpoints) -> str:
    """`run:ember is step 40, which you chose.`"""
    from engine.models.refs import Ref

    name, now = str(Ref.run(found.run.name)), found.result
    if now is None:
        return f"{name} is nothing that can be used: tuningfork runs checkpoints {found.run.name}"
    if now.finished:
        return f"{name} is the finished adapter, from step {now.step}."
    chosen = found.run.result_step
    if chosen == now.step:
        return f"{name} is step {now.step}, which you chose."
    skipped = f"; step {chosen}, which you chose, is damaged" if chosen is not None else ""
    return f"{name} is step {now.step}, the newest that is whole{skipped}."
