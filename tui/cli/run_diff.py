"""`tuningfork runs diff`: what differs between two runs in settings, data and results.
Found by engine.training.comparing; here it is written."""

from __future__ import annotations

import click

from tui.cli.command import Command
from tui.cli.following import fresh
from tui.cli.options import RUN
from tui.cli.output import emit, emit_json, say, table
from tui.cli.session import session


@click.command(
    "diff",
    cls=Command,
    example="""
    tuningfork runs diff ember-1 ember-2
    tuningfork runs diff ember-1 ember-2 --json
    """,
)
@click.argument("before", type=RUN)
@click.argument("after", type=RUN)
def diff(before: str, after: str) -> None:
    """Compare two runs: the settings that differ, rows added to, removed from and changed in their data, and results.

    Probes and drift are those of the weights that each run's name stands for.
    """
    from engine.training import comparing
    from tui.run_summary import data_lines, result_rows, rows_command

    found = comparing.diff(fresh(), before, after)
    if session().as_json:
        emit_json(found.to_json())
        return
    if found.settings:
        shown = ((each.name, comparing.shown(each.name, each.before), comparing.shown(each.name, each.after))
                 for each in found.settings)  # fmt: skip
        table(("setting", before, after), shown)
    else:
        emit("Both runs have the same settings.")
    emit()
    for line in data_lines(found.data):
        emit(line)
    if found.data.before != found.data.after:
        say(f"The rows: {rows_command(found.data)}{session().flags()}")
    emit()
    table(("", before, after), result_rows(found.before, found.after))
