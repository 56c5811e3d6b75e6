"""`tuningfork doctor`: is everything installed that is needed, and what to do if not.
The checks are in engine.doctor."""

from __future__ import annotations

import os
import sys

import click

from tui.cli.command import FAULT, Command
from tui.cli.output import Progress, columns, emit, emit_json, say
from tui.cli.session import session

_WORDS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


@click.command("doctor", cls=Command, example="tuningfork doctor --json")
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check what Tuningfork needs on this machine.

    Looks at Python, memory, disk, home, store, base model, llama.cpp, terminal, torch and CUDA.
    Exits with 1 if a check fails.
    """
    from engine.doctor import examine, verdict
    from tui.cli.columns import wrap

    found = []
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    with Progress("Examining") as progress:
        for check in examine(session().home):
            found.append(check)
            progress.clear()
            if not session().as_json:
                word, colour = _WORDS[check.mark]
                lines = wrap(check.what, max(30, columns() - 24))
                head = click.style(word, fg=colour) if coloured else word
                click.echo(f"{head}  {check.name:<16}  {lines[0]}")
                for line in [*lines[1:], *([f"-> {check.todo}"] if check.todo else [])]:
                    emit(" " * 24 + line)
    failed = [check.name for check in found if check.mark == "fail"]
    if session().as_json:
        emit_json({"ok": not failed, "checks": found})
    else:
        say(verdict(found))
    if failed:
        context.exit(FAULT)
