"""`tuningfork verdict`: is a run ready to ship, with the reasons, and the evidence as a file.
Deciding, asking and keeping are engine.evaluation's verdict, verdict_parts and verdict_evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.cli.asking import announce
from tui.cli.command import FAULT, Command
from tui.cli.data import assignment
from tui.cli.evaluate import TYPES, ask
from tui.cli.options import DATASET, MODEL, SPLITS
from tui.cli.output import emit, emit_json, say
from tui.cli.session import session

if TYPE_CHECKING:
    from engine.evaluation.gates import Gates
    from engine.evaluation.verdict import Decision
    from engine.evaluation.verdict_parts import VerdictRequest

_WORDS = {"passed": "ok  ", "nothing": "-   ", "off": "off ", "failed": "FAIL", "missing": "FAIL"}


@click.command(
    "verdict",
    cls=Command,
    example="""
    tuningfork verdict run:ember
    tuningfork verdict run:stars --dataset reviews --rows 40
    tuningfork verdict --print-config > gates.yaml
    tuningfork verdict run:ember --config gates.yaml --out evidence.json --json
    tuningfork verdict --check evidence.json
    """,
)
@click.argument("model", metavar="MODEL", type=MODEL, required=False)
@click.option("--against", type=MODEL, metavar="REF", help="What it must be better than; else the run's base.")
@click.option("--dataset", type=DATASET, metavar="NAME", help="The dataset of the task; else what it was trained on.")
@click.option("--split", type=SPLITS, default="test", show_default=True, help="The split to ask.")
@click.option("--rows", type=click.IntRange(0), default=100, show_default=True, metavar="N",
              help="Ask at most N rows of the split and of each suite, always the same ones; 0 for all.")  # fmt: skip
@click.option("--metric", metavar="NAME", help="The metric that decides; else the first of the type of the answers.")
@click.option("--type", "kind", type=click.Choice(TYPES), help="The type of the answers; else read off the references.")
@click.option("--set", "variables", multiple=True, metavar="NAME=VALUE",
              help="The `name` and `author` that the run was taught; else read off its identity rows.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The gates, as --print-config writes.")
@click.option("--print-config", is_flag=True, help="Print the gates as YAML and stop.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write the evidence there; it is always kept in the run's folder.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file of --out if it is there.")
@click.option("--check", "checked", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Read evidence again: does it say SHIP, and is everything still as it was?")  # fmt: skip
@click.option("--yes", "-y", is_flag=True, help="Do not ask before texts leave this machine.")
@click.pass_context
def verdict(
    context: click.Context, model: str | None, against: str | None, dataset: str | None, split: Any, rows: int,
    metric: str | None, kind: Any, variables: tuple[str, ...], config: Path | None, print_config: bool,
    out: Path | None, force: bool, checked: Path | None, yes: bool,
) -> None:  # fmt: skip
    """Decide whether a model ships: SHIP or DON'T SHIP, with the reasons, gate by gate.

    A run must be better than its base at its task and in its identity, lose nothing that the suites check, leak no
    name, and have a verified export. What was answered before is used again; what is missing is asked in a job that
    outlives this terminal, and the same command takes it up again. A model that is no run is compared with itself, or
    with --against, on --dataset; it never ships, because nothing of it can be exported.

    Exits with 0 for SHIP, with 1 for DON'T SHIP, with 2 for what must be corrected.
    """
    from engine.evaluation import gates, verdict_evidence
    from engine.evaluation.verdict_parts import VerdictRequest

    if checked is not None:
        _check(context, checked)
        return
    chosen = gates.read(config.expanduser()) if config is not None else gates.Gates()
    if print_config:
        _print_config(chosen)
        return
    if model is None:
        raise BadInput("There is no model to decide on.", where="MODEL", todo="Name one: tuningfork verdict run:NAME")
    if out is not None:
        verdict_evidence.check_out(out, force)
    probes, teaches = taught_probes(model, dict(assignment(text) for text in variables))
    request = VerdictRequest(
        model=model, against=against, dataset=dataset, split=split, gates=chosen, rows=rows, metric=metric, type=kind,
        probes=probes, teaches=teaches,
    )  # fmt: skip
    _decide(context, request, out, force, yes)


def _decide(context: click.Context, request: VerdictRequest, out: Path | None, force: bool, yes: bool) -> None:
    from engine.evaluation import reuse, verdict_evidence, verdict_parts

    store = session().store
    planned = verdict_parts.plan(store, request)
    for note in planned.notes:
        say(f"Note: {note}")
    missing = reuse.missing(store, planned.wanted)
    if missing:
        announce("The questions", planned.leaves, yes)
    ask(missing)
    figures, where = verdict_parts.figures(store, planned)
    notes = verdict_parts.notes(store, planned, where)
    for note in notes[len(planned.notes) :]:
        say(f"Note: {note}")
    evidence = verdict_evidence.make(store, planned, figures, where, notes)
    places = verdict_evidence.keep(store, evidence, out, force=force)
    if session().as_json:
        emit_json({**evidence.body, "files": [str(place) for place in places]})
    else:
        _show(evidence.model, evidence.decision)
        emit(f"Evidence: {places[-1]}" if places else "Evidence: not kept; --out FILE keeps it.")
    if not evidence.decision.ship:
        context.exit(FAULT)


def taught_probes(model: str, variables: dict[str, str]) -> tuple[Any, bool]:
    """The identity and leak probes of the run, and whether its data has identity rows. BadInput for another variable
    than a name."""
    from engine.models.refs import Ref
    from engine.training import watched_probes
    from engine.training.watched_probes import TaughtNames
    from store import datasets, runs

    if other := sorted(variables.keys() - {"name", "author"}):
        raise BadInput(f"The probes have no placeholder {other[0]!r}.", where="--set", todo="Set name or author.")
    ref = Ref.read(model)
    names = TaughtNames(variables.get("name", ""), variables.get("author", "")) if variables else None
    if not ref.is_run:
        return (watched_probes.built_in(names) if names else {}), False
    store = session().store
    run = runs.get(store, ref.value)
    teaches = any(row.kind == "identity" for row in datasets.snapshot_rows(store, run.snapshot, "train"))
    return watched_probes.of_run(store, run, names), teaches


def _check(context: click.Context, path: Path) -> None:
    """Say what an evidence file says, and what has changed since."""
    from engine.evaluation import verdict_evidence

    evidence = verdict_evidence.read(path.expanduser())
    changed = verdict_evidence.changes(session().store, evidence)
    good = evidence.decision.ship and not changed
    if session().as_json:
        emit_json({**evidence.body, "changed": changed, "valid": not changed})
    else:
        _show(evidence.model, evidence.decision)
        for each in changed:
            emit(f"Changed: {each}")
        emit("It no longer stands: run the verdict again." if changed else "Nothing has changed since.")
    if not good:
        context.exit(FAULT)


def _print_config(chosen: Gates) -> None:
    from engine.evaluation import gates

    if session().as_json:
        emit_json({"gates": chosen.to_json(), "gates_hash": chosen.hash()})
    else:
        emit(gates.text(chosen).rstrip("\n"))


def _show(model: str, decision: Decision) -> None:
    emit(f"{decision.word}: {model}")
    for each in decision.results:
        emit(f"  {_WORDS[each.state]}  {each.gate:<9}  {each.said}")
        if not each.good:
            for line in each.todo.splitlines():
                emit(f"                   {line}")
