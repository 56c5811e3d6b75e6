"""`tuningfork runs`: list, follow, stop, resume and remove training runs, from any terminal.
Starts and stops through engine.training.run_control; nothing here touches a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from store.records import state_word
from tui.cli import checkpoints, run_diff
from tui.cli.command import Group
from tui.cli.config_options import how_options
from tui.cli.following import check_end, follow, fresh, run_json, stop_command, watch_command
from tui.cli.options import RUN, options_named, yes_option
from tui.cli.output import confirm, emit, emit_json, fields, say, table
from tui.cli.session import session
from tui.formatting import ago, duration, size

if TYPE_CHECKING:
    from store.db import Store
    from store.records import Run

_SPARKS = "▁▂▃▄▅▆▇█"


@click.group(
    cls=Group,
    example="""
    tuningfork runs list
    tuningfork runs watch ember
    """,
)
def runs() -> None:
    """Training runs: list, follow, stop, resume, remove; their checkpoints and which is the result."""


@runs.command("list", example="tuningfork runs list --json")
def list_() -> None:
    """List the runs, newest first."""
    from store import runs as kept

    store = fresh()
    found = kept.all_runs(store)
    if session().as_json:
        names = (
            "name",
            "state",
            "step",
            "total_steps",
            "base",
            "snapshot",
            "method",
            "error",
            "created_at",
            "ended_at",
            "result_step",
            "note",
        )
        emit_json([{name: getattr(run, name) for name in names} for run in found])
        return
    if not found:
        say("There is no run yet. Start one: tuningfork train --dataset NAME")
        return
    noted = any(run.note for run in found)
    table(
        ("name", "state", "step", "base", "method", "created", "took", *(["note"] if noted else [])),
        (
            (r.name, state_word(r.state), _steps(r), r.base, r.method, ago(r.created_at), _took(r))
            + ((r.note,) if noted else ())
            for r in found
        ),
        right=("step", "took"),
        wide="note" if noted else "base",
    )


def _steps(run: Run) -> str:
    return f"{run.step}/{run.total_steps}" if run.total_steps else str(run.step or "-")


def _took(run: Run) -> str:
    return duration((run.ended_at - run.started_at) / 1000) if run.ended_at and run.started_at else "-"


@runs.command("show", example="tuningfork runs show ember --json")
@click.argument("name", type=RUN)
def show(name: str) -> None:
    """Show a run: state, configuration, metrics, checkpoints and its last messages."""
    from engine.training import run_control
    from store import runs as kept

    store = fresh()
    run = kept.get(store, name)
    if session().as_json:
        emit_json(run_json(store, run))
        return
    status = run_control.status(store, name)
    rows: list[tuple[str, Any]] = [("run", run.name), ("state", _state(status)), ("base", run.base)]
    rows += [("note", run.note)] if run.note else []
    rows += [("snapshot", run.snapshot[:16]), ("step", _steps(run)), ("elapsed", duration(status.elapsed))]
    if status.seconds_left is not None:
        rows.append(("left", duration(status.seconds_left)))
    rows += [(metric, _curve(values)) for metric, values in _curves(store, run).items()]
    if run.adapter:
        rows.append(("adapter", store.home.absolute(run.adapter)))
    if run.result_step is not None:
        rows.append(("result", f"step {run.result_step}, which you chose"))
    rows += [("checkpoint", f"step {c.step}: {store.home.absolute(c.path)}") for c in kept.checkpoints(store, run.id)]
    rows += [("log", store.home.absolute(a.log_path)) for a in kept.attempts(store, run.id)[-1:]]
    rows.append(
        (
            "config",
            ", ".join(f"{key} {_brief(value)}" for key, value in run.config.items() if value not in (None, False)),
        )
    )
    if run.error:
        rows.append(("error", run.error))
    fields(rows)
    for event in kept.events(store, run.id)[-10:]:
        emit(f"  {_clock(event.at)}  {event.body.get('text', event.kind)}")
    if run.adapter:
        say(f"Compare it: tuningfork compare --a {run.base} --b run:{run.name} --prompt TEXT{session().flags()}")


@runs.command(
    "config",
    example="""
    tuningfork runs config ember > again.yaml
    tuningfork train --config again.yaml
    """,
)
@click.argument("name", type=RUN)
def config(name: str) -> None:
    """Print a run's settings as a file for `tuningfork train --config`, with the snapshot it was trained on."""
    from engine.training import config_files
    from engine.training.config import TrainConfig
    from store import runs as kept

    run = kept.get(session().store, name)
    settings = TrainConfig.from_json(run.config)
    if session().as_json:
        emit_json({"snapshot": run.snapshot, "config": settings.to_json(), "config_hash": settings.hash()})
    else:
        emit(config_files.of_run(run).rstrip())


def _state(status: Any) -> str:
    word = state_word(status.state)
    return f"{word}, but no step for a long time: it may hang" if status.hung else word


def _brief(value: Any) -> str:
    """A value of a configuration on one line; the text of a chat template only by its beginning."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _clock(at_ms: int) -> str:
    import time

    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000))


def _curves(store: Store, run: Run) -> dict[str, list[float]]:
    from store import runs as kept

    curves: dict[str, list[float]] = {}
    for metric in kept.metrics(store, run.id):
        if metric.value is not None:
            curves.setdefault(metric.name, []).append(metric.value)
    return curves


def _curve(values: list[float]) -> str:
    """`2.41 → 0.38  █▆▄▂▁`: first, last, and the shape in at most 24 cells."""
    if len(values) == 1:
        return f"{values[0]:.4g}"
    picked = [values[i * (len(values) - 1) // 23] for i in range(24)] if len(values) > 24 else values
    low, high = min(picked), max(picked)
    sparks = "".join(_SPARKS[round((v - low) / ((high - low) or 1) * (len(_SPARKS) - 1))] for v in picked)
    return f"{values[0]:.4g} → {values[-1]:.4g}  {sparks}"


@runs.command("watch", example="tuningfork runs watch ember")
@click.argument("name", type=RUN)
def watch(name: str) -> None:
    """Follow a run until it ends; Ctrl-C stops following, not the run. With --json: JSON lines, the run last."""
    from store import runs as kept

    store = fresh()
    kept.get(store, name)
    _report(store, follow(store, name, lines=session().as_json))


def _report(store: Store, run: Run) -> None:
    if session().as_json:
        emit_json({"type": "run", **run_json(store, run)})
    else:
        took = f", in {_took(run)}" if run.ended_at and run.started_at else ""
        emit(f"Run {run.name} is {state_word(run.state)} after {_steps(run)} steps{took}.")


@runs.command(
    "stop",
    example="""
    tuningfork runs stop ember
    tuningfork runs stop ember --now          (kill it; steps after its last checkpoint are lost)
    """,
)
@click.argument("name", type=RUN)
@click.option("--now", is_flag=True, help="Kill it without saving a checkpoint.")
def stop(name: str, now: bool) -> None:
    """Stop a run after its current step; it saves a checkpoint first, so it can be resumed and compared."""
    from engine.training import run_control
    from store import runs as kept

    store = fresh()
    run_control.stop(store, name, now=now)
    run = kept.get(store, name)
    if session().as_json:
        emit_json({"run": name, "state": run.state, "wanted": run.wanted})
    elif run.state in ("stopped", "failed", "lost"):
        emit(f"Run {name} is {run.state}.")
    else:
        emit(f"Run {name} will save a checkpoint and stop after this step.")
        say(f"Follow it: {watch_command(name)}")


@runs.command(
    "resume",
    example="""
    tuningfork runs resume ember --wait
    tuningfork runs resume ember@40           (from its checkpoint at step 40; later ones are removed)
    tuningfork runs resume ember --steps 200  (a finished run: on to step 200)
    tuningfork runs resume ember --launcher torchrun --processes 2
    """,
)
@click.argument("name", type=RUN, metavar="NAME[@STEP]")
@click.option("--steps", type=click.IntRange(min=1), help="Give the run so many optimizer steps in all.")
@how_options
@click.option("--wait", is_flag=True, help="Follow the run until it ends.")
def resume(
    name: str, steps: int | None, launcher: str | None, processes: int | None, shard: bool | None, wait: bool
) -> None:
    """Continue a run that is stopped, failed or lost, from its last checkpoint that is as it was saved.

    With --steps a finished run continues, too, from the state at its end. The learning rate then follows the schedule
    over all steps from there on: with a falling schedule it rises again first. --launcher, --processes and --shard
    start it another way than before.
    """
    from engine.models import refs
    from engine.training import run_control
    from store import runs as kept

    store, asked = fresh(), refs.parse_run(name)
    how: dict[str, Any] = {"launcher": launcher, "processes": processes, "shard": shard}
    try:
        run_control.resume(store, asked.value, asked.step, steps=steps, **how, on_note=say)
    except BadInput as error:
        if error.where not in how:
            raise
        with options_named():
            raise
    if wait:
        _report(store, follow(store, asked.value))
        return
    show_started(kept.get(store, asked.value))


def show_started(run: Run) -> None:
    """Show that a run has started or waits, and how to follow and stop it."""
    check_end(run)
    if session().as_json:
        plain = {"run": run.name, "state": run.state, "snapshot": run.snapshot, "base": run.base, "config": run.config}
        emit_json({**plain, "watch": watch_command(run.name), "stop": stop_command(run.name)})
        return
    emit(f"Run {run.name} {'waits in the queue' if run.state == 'queued' else 'has started'}.")
    say(f"  follow it  {watch_command(run.name)}\n  stop it    {stop_command(run.name)}")


@runs.command(
    "rm",
    example="""
    tuningfork runs rm ember --yes
    tuningfork runs rm ember@40               (only its checkpoint at step 40)
    """,
)
@click.argument("names", nargs=-1, required=True, type=RUN, metavar="NAME[@STEP]...")
@yes_option
def rm(names: tuple[str, ...], yes: bool) -> None:
    """Remove runs with their checkpoints and adapters, or with @STEP single checkpoints. This cannot be undone.

    A checkpoint that is the run's result is refused: make another one the result first.
    """
    from engine.models import refs
    from engine.training import run_control, saved_checkpoints
    from store import runs as kept

    store = fresh()
    asked = list(dict.fromkeys(map(refs.parse_run, names)))
    whole = [ref.value for ref in asked if ref.step is None]
    single = [(ref.value, ref.step) for ref in asked if ref.step is not None and ref.value not in whole]
    for name in whole:
        kept.get(store, name)
    sizes = [saved_checkpoints.check_removable(store, name, step).bytes for name, step in single]
    parts = [f"{', '.join(whole)} with all checkpoints and adapters"] if whole else []
    parts += [f"the checkpoint {name}@{step} ({size(n)})" for (name, step), n in zip(single, sizes, strict=True)]
    confirm(f"Remove {' and '.join(parts)}? This cannot be undone.", yes)
    for name in whole:
        run_control.remove(store, name)
    for name, step in single:
        saved_checkpoints.remove(store, name, step)
    if session().as_json:
        emit_json({"removed": list(names)})
    else:
        emit(f"Removed: {', '.join(names)}.")


@runs.command("queue", example="tuningfork runs queue")
def queue() -> None:
    """Show the run that is running and those that wait, in the order in which they will start."""
    from store import runs as kept
    from store.records import LIVE_STATES

    store = fresh()
    every = kept.all_runs(store)
    live = [run for run in every if run.state in LIVE_STATES]
    waiting = kept.waiting(store)
    if session().as_json:
        emit_json({"live": [r.name for r in live], "queued": [r.name for r in waiting]})
    elif not live and not waiting:
        say("No run is running and none waits.")
    else:
        table(("", "name", "state", "step", "base"),
              [("now", r.name, r.state, _steps(r), r.base) for r in live]
              + [(n, r.name, r.state, "-", r.base) for n, r in enumerate(waiting, 1)])  # fmt: skip


@runs.command("first", example="tuningfork runs first ember")
@click.argument("name", type=RUN)
def first(name: str) -> None:
    """Let a run that waits start before all others that wait."""
    from store import runs as kept

    store = fresh()
    run = kept.put_first(store, name)
    if session().as_json:
        emit_json({"queued": [each.name for each in kept.waiting(store)]})
    else:
        emit(f"Run {run.name} starts next.")


@runs.command(
    "note",
    example="""
    tuningfork runs note ember "rank 8, half the data: too short answers"
    tuningfork runs note ember
    tuningfork runs note ember ""             (removes it)
    """,
)
@click.argument("name", type=RUN)
@click.argument("text", required=False)
def note(name: str, text: str | None) -> None:
    """Keep a note on a run, on one line; without TEXT show it."""
    from store import runs as kept

    store = session().store
    run = kept.get(store, name) if text is None else kept.set_note(store, name, text)
    if session().as_json:
        emit_json({"run": name, "note": run.note})
    elif text is None:
        emit(run.note) if run.note else say(f"There is no note on run {name}.")
    else:
        emit(f"Noted: {run.note}" if run.note else f"The note on run {name} is removed.")


@runs.command("log", example="tuningfork runs log ember")
@click.argument("name", type=RUN)
def log(name: str) -> None:
    """Print the log of the run's latest process."""
    from engine.training import run_log

    path = run_log.latest(fresh(), name)
    text = path.read_text("utf-8", "replace")
    if session().as_json:
        emit_json({"run": name, "log": str(path), "text": text})
    else:
        emit(text.rstrip("\n"))


for _command in (checkpoints.checkpoints, checkpoints.result, run_diff.diff):
    runs.add_command(_command)
