"""`tuningfork diagnose`: why a run came out as it did, and the run that would fix it.
The causes are found by engine.training.diagnosis."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from engine.models.refs import parse_whole_run
from store.errors import Conflict
from tui.cli.command import Command
from tui.cli.options import RUN
from tui.cli.output import emit, emit_json, say
from tui.cli.runs import show_started
from tui.cli.session import session

if TYPE_CHECKING:
    from engine.training.diagnosis import Cause


@click.command(
    "diagnose",
    cls=Command,
    example="""
    tuningfork diagnose ember
    tuningfork diagnose run:ember --fix
    """,
)
@click.argument("run", type=RUN)
@click.option("--fix", is_flag=True, help="Start the run that the first fix describes.")
def diagnose(run: str, fix: bool) -> None:
    """Find what went wrong in a run that has ended: data, truncation, rate, steps or system text.

    Each cause is named with its evidence and with what would fix it; --fix starts a new run with the first fix. Where
    rows are at fault, the new run gets a dataset of its own: yours is not changed.
    """
    from engine.training import fixing
    from engine.training.diagnosis import NO_CAUSE

    store = session().store
    name = parse_whole_run(run)
    found = fixing.diagnosis_of(store, name)
    if fix:
        if found.fix is None:
            raise Conflict(f"Nothing is known that would fix run {name}.", todo="Ask it more: --watch SET")
        if not session().as_json:
            say(f"The new run {found.fix.words}.")
        show_started(fixing.start_fix(store, name, found.fix))
        return
    if session().as_json:
        emit_json({"run": name, "outcome": list(found.outcome), "causes": [_plain(cause) for cause in found.causes]})
        return
    for line in found.outcome:
        emit(line)
    for n, cause in enumerate(found.causes, 1):
        emit(f"{n}. {cause.kind}: {cause.evidence}")
        emit(f"   Fix: a run that {cause.fix.words}.")
    if found.causes:
        say(f"Start the first fix: tuningfork diagnose {name} --fix{session().flags()}")
    else:
        emit(NO_CAUSE)


def _plain(cause: Cause) -> dict[str, Any]:
    return {
        **asdict(cause),
        "rows": [ord + 1 for ord in cause.rows],
        "fix": {
            "words": cause.fix.words,
            "changes": dict(cause.fix.changes),
            "without": sorted(ord + 1 for ord in cause.fix.without),
            "no_system": cause.fix.no_system,
        },
    }
