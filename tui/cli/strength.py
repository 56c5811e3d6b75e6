"""`tuningfork strength`: how a run answers with its adapter weaker and stronger, and which strength is enough.
Asking and measuring are engine.evaluation.strength_curve's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.braille import graph
from tui.cli.asking import announce
from tui.cli.command import Command
from tui.cli.data import assignment
from tui.cli.evaluate import ask
from tui.cli.options import MODEL
from tui.cli.output import emit, emit_json, say, table
from tui.cli.session import session
from tui.cli.verdict import taught_probes

if TYPE_CHECKING:
    from engine.evaluation.strength_curve import PartShare, StrengthCurve

_WIDTH, _HEIGHT = 42, 4


@click.command(
    "strength",
    cls=Command,
    example="""
    tuningfork strength run:ember
    tuningfork strength run:ember --at 0,0.5,0.75,1 --suite knowledge --json
    """,
)
@click.argument("model", metavar="RUN", type=MODEL)
@click.option("--at", default="0,0.25,0.5,0.75,1,1.25,1.5", show_default=True, metavar="LIST",
              help="The strengths, from 0 (the base) to 2; 1 is the run as it is.")  # fmt: skip
@click.option("--suite", "suites", multiple=True, metavar="NAME",
              help="Also a suite: knowledge, arithmetic, format, refusal, instructions; repeatable.")  # fmt: skip
@click.option("--set", "variables", multiple=True, metavar="NAME=VALUE",
              help="The `name` and `author` that the run was taught; else read off its identity rows.")  # fmt: skip
@click.option("--yes", "-y", is_flag=True, help="Do not ask before texts leave this machine.")
def strength(model: str, at: str, suites: tuple[str, ...], variables: tuple[str, ...], yes: bool) -> None:
    """Ask a run at several strengths of its adapter, and recommend the smallest that keeps its identity.

    Identity, general questions and leaks are measured at each; what was asked before is used again, and what is missing
    is asked in a job that outlives this terminal. Chat, compare and export take the strength as run:NAME*0.7.
    """
    from engine.core import sample_files
    from engine.evaluation import reuse, strength_curve
    from engine.training import watched_probes
    from store import probe_files

    probes, _ = taught_probes(model, dict(assignment(text) for text in variables))
    general = probe_files.read(sample_files.path(watched_probes.BUILT_IN["general"]))
    sets = {"identity": probes.get("identity", []), "general": general, "leaks": probes.get("leaks", [])}
    planned = strength_curve.plan(session().store, model, _strengths(at), sets, suites)
    for note in planned.notes:
        say(f"Note: {note}")
    missing = reuse.missing(session().store, [planned])
    if missing:
        announce("The questions", planned.leaves, yes)
    ask(missing)
    curve, numbers = strength_curve.read(session().store, planned)
    if session().as_json:
        emit_json({"run": model, "floor": curve.floor, "recommended": curve.recommended, "said": curve.said,
                   "points": curve.points, "evaluations": numbers})  # fmt: skip
    else:
        _show(curve)


def _strengths(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise BadInput(f"{text!r} is not a list of numbers.", where="--at", todo="Write some like 0,0.5,1.") from None


def _show(curve: StrengthCurve) -> None:
    from engine.training import watched_probes

    parts = list(curve.points[0].parts)
    titles = [watched_probes.title(part) for part in parts]
    rows = [
        (f"{point.strength:g}", *(_share(point.parts[part]) for part in parts),
         "recommended" if point.strength == curve.recommended else "")
        for point in curve.points
    ]  # fmt: skip
    table(("strength", *titles, ""), rows, right=("strength",))
    for part, title in zip(parts, titles, strict=True):
        emit(f"\n{title}")
        points = [(point.strength, point.parts[part].share) for point in curve.points]
        for line in graph(points, 0.0, 1.0, _WIDTH, _HEIGHT):
            emit(line)
    emit(f"\n{curve.said}")


def _share(found: PartShare) -> Any:
    return f"{found.share:.2f} ({found.low:.2f} to {found.high:.2f})"
