"""`tuningfork jobs`: long-running work in one list: training runs, exports and every other job.
Watches and stops through engine.job_list; what a run or an export was is `runs` and `exports`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from store.errors import WorkerError
from store.records import state_word
from tui.cli.command import Group
from tui.cli.output import Progress, emit, emit_json, say, table
from tui.cli.session import session
from tui.export_summary import stage
from tui.formatting import ago, duration

if TYPE_CHECKING:
    from engine.job_list import JobView
    from store.db import Store


@click.group(
    cls=Group,
    example="""
    tuningfork jobs list
    tuningfork jobs watch 3
    tuningfork jobs stop run:ember
    """,
)
def jobs() -> None:
    """Long-running work in one list: training runs, exports and more. List, follow, stop."""


def _fresh() -> Store:
    """The store, after jobs whose process is gone have been marked as lost."""
    from engine import job_list

    store = session().store
    for view in job_list.reap(store):
        say(f"{_title(view)} was {view.state}: its process is gone.")
    return store


@jobs.command("list", example="tuningfork jobs list --json")
@click.option("--all", "every", is_flag=True, help="Also list the 50 that ended last.")
def list_(every: bool) -> None:
    """List what is running and what waits; with --all also what has ended."""
    from engine import job_list

    store = _fresh()
    found = job_list.listed(store) if every else job_list.unfinished(store)
    if session().as_json:
        emit_json([plain(view) for view in found])
    elif not found:
        say("Nothing is running." + ("" if every else " See what has ended: tuningfork jobs list --all"))
    else:
        table(
            ("job", "kind", "name", "state", "progress", "left", "since"),
            [(v.ref, v.kind, v.name, state_word(v.state), progress_words(v), _left(v),
              ago(v.started_at or v.created_at)) for v in found],
            wide="progress",
        )  # fmt: skip


@jobs.command("watch", example="tuningfork jobs watch 3")
@click.argument("job")
def watch(job: str) -> None:
    """Follow a job or run:NAME to its end; Ctrl-C leaves it running. With --json: JSON lines, the job itself last."""
    from engine import job_list

    store = _fresh()
    view = job_list.find(store, job)
    session().on_interrupt = f"{_title(view)} continues."
    session().next_step = f"Follow it again: tuningfork jobs watch {view.ref}{session().flags()}"
    as_json = session().as_json
    with Progress(view.name) as bar:

        def on_change(now: JobView) -> None:
            if as_json:
                emit_json({"type": "progress", **plain(now)})
            bar.show(f"{_title(now)}: {now.state}, {progress_words(now)}".rstrip(", "))

        def on_event(level: str, text: str) -> None:
            bar.clear()
            if as_json:
                emit_json({"type": "event", "level": level, "text": text})
            say(text if level == "info" else f"{level}: {text}")

        end = job_list.watch(store, view.ref, on_change, on_event)
    if as_json:
        emit_json({"type": "job", **plain(end)})
    else:
        took = f" after {duration((end.ended_at - end.started_at) / 1000)}" if end.ended_at and end.started_at else ""
        emit(f"{_title(end)} is {state_word(end.state)}{took}.")
    if end.state in ("failed", "lost"):
        raise WorkerError(end.error or f"It is {end.state}.", where=f"{_title(end)}, {end.state}")


@jobs.command(
    "stop",
    example="""
    tuningfork jobs stop 3
    tuningfork jobs stop run:ember --now
    """,
)
@click.argument("job")
@click.option("--now", is_flag=True, help="Kill it at once.")
def stop(job: str, now: bool) -> None:
    """Stop a job or run:NAME. A run saves a checkpoint first; an export removes its unfinished files."""
    from engine import job_list

    view = job_list.stop(_fresh(), job, now=now)
    if session().as_json:
        emit_json(plain(view))
    elif view.is_over:
        emit(f"{_title(view)} is {state_word(view.state)}.")
    else:
        emit(f"{_title(view)} will stop after its current step.")


def plain(view: JobView) -> dict[str, Any]:
    """A job as scripts see it."""
    body = asdict(view)
    body["job"] = body.pop("ref")
    return body


def progress_words(view: JobView) -> str:
    """`gguf q8_0 (1 of 2), writing 40%`; empty when nothing is known."""
    now = view.progress
    done = f"{now.share:.0%}" if now.share is not None else ""
    return ", ".join(filter(None, (now.part, " ".join(filter(None, (stage(now), done))))))


def _left(view: JobView) -> str | None:
    left = view.progress.seconds_left
    return duration(left) if left is not None and not view.is_over else None


def _title(view: JobView) -> str:
    return f"{view.kind.capitalize()} {view.name}" + (f" (job {view.ref})" if view.ref.isdigit() else "")
