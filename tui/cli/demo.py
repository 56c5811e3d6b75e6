"""`tuningfork demo`: the whole loop once, unattended, in a home of its own.
The loop itself is in engine.demo; here are its final table and the next step."""

from __future__ import annotations

import itertools
import shlex
import sys
from typing import Any

import click

from store.errors import Conflict
from store.home import Home
from tui.cli.columns import NARROWEST, side_by_side
from tui.cli.command import Command
from tui.cli.output import columns, emit, emit_json, say, table
from tui.cli.session import session
from tui.formatting import duration

_OTHER = "Name a new or empty folder, or leave out --home."


@click.command(
    "demo",
    cls=Command,
    example="""
    tuningfork demo
    tuningfork demo --home ./ember --json
    """,
)
def demo() -> None:
    """Teach the built-in model a name, and show it beside its base.

    It learns that it is Ember by Northwind Labs: the demo imports sample pairs, freezes them, runs QLoRA, then asks
    both models questions that were not in the training set. It takes a few minutes on two cores and uses a new home, so
    your own data is not touched.
    """
    from engine.demo import run_demo

    home = _fresh_home()
    session().on_interrupt = f"What the demo has made so far is in {home.root}."
    session().next_step = f"List its runs: tuningfork runs list --home {shlex.quote(str(home.root))}"
    found = run_demo(home, say)
    if session().as_json:
        emit_json(found)
        return
    _table(found)
    emit(f"Open the app on it: tuningfork --home {shlex.quote(str(home.root))}")


def _fresh_home() -> Home:
    """The home given by `--home`, if it is empty; without `--home`, a new one beside the usual home."""
    usual = session().home
    if session().home_given:
        if usual.database.exists():
            raise Conflict(
                "The demo needs a new home, but this one already holds a store.", where=str(usual.root), todo=_OTHER
            )
        return usual.ensure()
    for n in itertools.count(1):
        fresh = Home(usual.root.with_name(f"{usual.root.name}-demo{f'-{n}' if n > 1 else ''}"))
        if not fresh.root.exists():
            return fresh.ensure()
    raise AssertionError("unreachable")


def _table(found: dict[str, Any]) -> None:
    """The identity answers side by side, then the scores of both probe sets."""
    wide = sys.stdout.isatty() and columns() >= NARROWEST
    if wide:
        _sides("base model", "tuned model")
    for item in found["questions"]:
        if item["set"] != "identity":
            continue
        emit(f"> {item['question']}")
        base, tuned = (f"{_mark(item[side + '_passed'])} {item[side]}" for side in ("base", "tuned"))
        if wide:
            _sides(base, tuned)
        else:
            emit(f"base  {base}\ntuned {tuned}")
        emit()
    rows = [(name, _of(found[name], "base"), _of(found[name], "tuned")) for name in ("identity", "retention")]
    table(("questions it was not trained on", "base", "tuned"), rows, right=("base", "tuned"))
    emit(f"Trained in {duration(found['train_s'])}.")


def _sides(left: str, right: str) -> None:
    for line in side_by_side(left, right, columns()):
        click.echo(line)


def _mark(passed: bool) -> str:
    return "[+]" if passed else "[-]"


def _of(score: dict[str, int], side: str) -> str:
    return f"{score[side]} of {score['of']}"
