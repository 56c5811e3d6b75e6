"""Follows a run to its end from the command line, and describes runs as JSON.
Only watches: ending the watcher never ends the run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from store.errors import WorkerError
from tui.cli.output import Progress, emit_json, say
from tui.cli.session import session
from tui.formatting import duration

if TYPE_CHECKING:
    from store.db import Store
    from store.records import Event, Metric, Run


def watch_command(name: str) -> str:
    """What to type to follow a run from any terminal."""
    return f"tuningfork runs watch {name}{session().flags()}"


def stop_command(name: str) -> str:
    """What to type to stop a run."""
    return f"tuningfork runs stop {name}{session().flags()}"


def resume_command(name: str) -> str:
    """What to type to continue a run that ended early."""
    return f"tuningfork runs resume {name}{session().flags()}"


def fresh() -> Store:
    """The store, after runs whose process is gone have been marked as lost."""
    from engine.training import run_control

    store = session().store
    for name in run_control.reap(store):
        say(f"Run {name} is lost: its process is gone. Resume it: {resume_command(name)}")
    return store


def follow(store: Store, name: str, *, lines: bool = False) -> Run:
    """Show a run's events and progress on stderr until it has ended; with `lines` also as JSON lines on stdout.

    Raises WorkerError when the run failed or was lost. An interrupt leaves the run alone and says how to
    follow it again.
    """
    from engine.training import run_control

    here = session()
    here.on_interrupt = f"Run {name} keeps running."
    here.next_step = f"Follow it again: {watch_command(name)}\nStop it: {stop_command(name)}"
    with Progress(name) as progress:

        def on_event(event: Event) -> None:
            progress.clear()
            mark = "" if event.level == "info" else f"{event.level}: "
            say(f"{name}: {mark}{event.body.get('text', event.kind)}")
            if lines:
                emit_json(
                    {"type": "event", "level": event.level, "kind": event.kind, "body": event.body, "at": event.at}
                )

        def on_metrics(metrics: list[Metric]) -> None:
            if lines:
                for metric in metrics:
                    emit_json({"type": "metric", **asdict(metric)})
            progress.show(_progress(run_control.status(store, name)))

        run = run_control.wait(store, name, on_event=on_event, on_metrics=on_metrics)
    check_end(run)
    return run


def _progress(status: Any) -> str:
    """`ember: step 12/40, 30%, loss 1.234, 0.41 steps/s, 1 min 08 s left`."""
    of = status.total_steps
    parts = [f"{status.run.name}: step {status.step}" + (f"/{of}, {100 * status.step // of}%" if of else "")]
    if status.loss is not None:
        parts.append(f"loss {status.loss:.3f}")
    if status.rate:
        parts.append(f"{status.rate:.2g} steps/s")
    if status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    if status.hung:
        parts.append("no step for a long time: it may hang")
    return ", ".join(parts)


def check_end(run: Run) -> None:
    """Raise WorkerError when a run failed or was lost, with its reason and what to do next."""
    if run.state not in ("failed", "lost"):
        return
    again = f"Resume it: {resume_command(run.name)}"
    if run.repeats:
        again = "Resuming it would fail in the same way: correct the cause, then train under a new name."
    more = f"See its messages: tuningfork runs show {run.name}{session().flags()}"
    what = run.error or (
        "The training process is gone." if run.state == "lost" else "The training process gave no reason."
    )
    raise WorkerError(what, where=f"run {run.name}, {run.state}", todo=f"{more}\n{again}")


def run_json(store: Store, run: Run) -> dict[str, Any]:
    """A run as scripts see it: its fields, its metrics by name, and where its files are (absolute paths)."""
    from engine.training import run_control
    from store import runs

    status = run_control.status(store, run.name)
    curves: dict[str, list[dict[str, Any]]] = {}
    for metric in runs.metrics(store, run.id):
        curves.setdefault(metric.name, []).append({"step": metric.step, "value": metric.value})
    plain = asdict(run)
    del plain["id"]
    return {
        **plain,
        "adapter": str(store.home.absolute(run.adapter)) if run.adapter else None,
        "metrics": curves,
        "checkpoints": [
            {"step": c.step, "path": str(store.home.absolute(c.path)), "val_loss": c.val_loss}
            for c in runs.checkpoints(store, run.id)
        ],
        "attempts": [
            {"n": a.n, "pid": a.pid, "host": a.host, "log": str(store.home.absolute(a.log_path)),
             "resume_from": a.resume_from, "started_at": a.started_at, "ended_at": a.ended_at, "exit": a.exit}
            for a in runs.attempts(store, run.id)
        ],
        "events": [
            {"level": e.level, "kind": e.kind, "body": e.body, "at": e.at} for e in runs.events(store, run.id)
        ],
        "steps_per_s": status.rate,
        "seconds_left": status.seconds_left,
        "elapsed_s": status.elapsed,
        "hung": status.hung,
    }  # fmt: skip
