"""`tuningfork data snapshots`: list them with their runs, compare two, write one to a file, bring one back.
What a snapshot is belongs to the store."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.cli.command import Group
from tui.cli.options import DATASET, SPLITS, StoreName
from tui.cli.output import emit, emit_json, say, table
from tui.cli.session import session
from tui.cli.streams import STANDARD, output_file
from tui.formatting import ago, count
from tui.snapshot_changes import changed_texts, in_a_line, summary
from tui.text import one_line
from tui.worddiff import marked_text

if TYPE_CHECKING:
    from store.db import Store
    from store.records import SnapshotRow
    from store.snapshots import SnapshotDiff

_SHOWN = 20


def _hashes(store: Store) -> list[str]:
    return [str(hash) for hash in store.column("SELECT hash FROM snapshot ORDER BY id DESC")]


SNAPSHOT = StoreName("snapshot", _hashes)


@click.group(
    "snapshots",
    cls=Group,
    example="""
    tuningfork data snapshots list --dataset support
    tuningfork data snapshots diff 3f2a 9c01
    tuningfork data snapshots diff 3f2a
    """,
)
def snapshots_() -> None:
    """Datasets as they were frozen: list, compare, write to a file, restore."""


@snapshots_.command("list", example="tuningfork data snapshots list --json")
@click.option("--dataset", type=DATASET, metavar="NAME", help="Only those of this dataset.")
def list_(dataset: str | None) -> None:
    """List the snapshots, newest first, with the runs that were trained on each."""
    from store import snapshots

    found = snapshots.all_snapshots(session().store, dataset)
    if session().as_json:
        emit_json([{**asdict(each.snapshot), "runs": list(each.runs)} for each in found])
        return
    if not found:
        say("There is no snapshot yet. Freeze a dataset: tuningfork data freeze --dataset NAME")
        return
    rows = [
        (each.snapshot.hash[:12], each.snapshot.dataset, each.snapshot.rows, ago(each.snapshot.created_at),
         ", ".join(f"{split} {n:,}" for split, n in each.snapshot.splits.items()), ", ".join(each.runs))
        for each in found
    ]  # fmt: skip
    table(("snapshot", "dataset", "rows", "frozen", "splits", "runs"), rows, right=("rows",), wide="runs")


@snapshots_.command(
    "diff",
    example="""
    tuningfork data snapshots diff 3f2a 9c01
    tuningfork data snapshots diff 3f2a
    tuningfork data snapshots diff 3f2a --dataset support-new --json
    """,
)
@click.argument("before", type=SNAPSHOT)
@click.argument("after", type=SNAPSHOT, required=False)
@click.option("--dataset", type=DATASET, metavar="NAME", help="Compare with this dataset as it is today.")
@click.option(
    "--limit", type=click.IntRange(0), metavar="N",
    help=f"Rows to show; 0 shows all.  [default: {_SHOWN}; all with --json]",
)  # fmt: skip
def diff(before: str, after: str | None, dataset: str | None, limit: int | None) -> None:
    """Compare two snapshots: rows that were added, removed or changed, with [-old-] and {+new+} words marked.

    Without a second snapshot, compare with the ready pairs of today's dataset: the one that was frozen, or --dataset.
    """
    from store import snapshots

    if after is not None and dataset is not None:
        raise BadInput(
            "A second snapshot and --dataset were both given.", where="--dataset", todo="Compare with one of them."
        )
    store = session().store
    found = snapshots.diff(store, before, after) if after else snapshots.diff_today(store, before, dataset)
    if session().as_json:
        _print_json(found, limit)
        return
    limit = _SHOWN if limit is None else limit
    lines = [f"+ {in_a_line(row, 200)}" for row in found.added] + [f"- {in_a_line(row, 200)}" for row in found.removed]
    lines += [f"~ {one_line(_changed(one, two), 400)}" for one, two in found.changed]
    for line in lines[:limit] if limit else lines:
        emit(line)
    if limit and len(lines) > limit:
        say(f"{limit} of {len(lines):,} rows; --limit 0 shows all.")
    emit(f"{summary(found)}.")


def _print_json(found: SnapshotDiff, limit: int | None) -> None:
    """The whole difference, or its first rows; `left_out` counts those that are not among them."""
    every = len(found.added) + len(found.removed) + len(found.changed)
    added = found.added[: limit or None]
    removed = found.removed[: limit - len(added) if limit else None]
    changed = found.changed[: limit - len(added) - len(removed) if limit else None]
    emit_json({
        "before": found.before.hash,
        "after": found.after.hash if found.after else None,
        "dataset": found.dataset,
        "same": found.same,
        "added": [asdict(row) for row in added],
        "removed": [asdict(row) for row in removed],
        "changed": [{"before": asdict(one), "after": asdict(two), "words": _marked(one, two)} for one, two in changed],
        "left_out": every - len(added) - len(removed) - len(changed),
    })  # fmt: skip


def _changed(one: SnapshotRow, two: SnapshotRow) -> str:
    asked = f"{two.split} {two.messages[-2]['content']}"
    parts = _marked(one, two)
    told = [f"{name}: {text}" for name, text in parts.items() if name != "question"]
    return " | ".join([parts.get("question", asked), *told])


def _marked(one: SnapshotRow, two: SnapshotRow) -> dict[str, str]:
    """What changed in a row: each part by its name, with the words marked; a split or kind as `train → val`."""
    return {
        name: f"{old} → {new}" if name in ("split", "kind") else marked_text(old, new)
        for name, old, new in changed_texts(one, two)
    }


@snapshots_.command("export", example="tuningfork data snapshots export 3f2a frozen.jsonl")
@click.argument("snapshot", type=SNAPSHOT)
@click.argument("file", metavar="FILE")
@click.option("--split", type=SPLITS, help="Write only this split.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def export(snapshot: str, file: str, split: Any, overwrite: bool) -> None:
    """Write the rows of a snapshot as JSON lines of messages, with split and kind; `-` is standard output."""
    from store import snapshots

    with output_file(file, ".jsonl") as path:
        n = snapshots.write_file(session().store, snapshot, path, split, overwrite=overwrite)
    if file == STANDARD:
        say(f"{count(n, 'row')} written.")
    elif session().as_json:
        emit_json({"path": str(path.absolute()), "rows": n})
    else:
        emit(f"{count(n, 'row')} written to {path}.")


@snapshots_.command("restore", example="tuningfork data snapshots restore 3f2a support-in-may")
@click.argument("snapshot", type=SNAPSHOT)
@click.argument("dataset", metavar="NAME")
def restore(snapshot: str, dataset: str) -> None:
    """Make a dataset with the content and the splits of a snapshot. Pairs that are there already are not doubled."""
    from store import snapshots

    made = snapshots.restore(session().store, snapshot, dataset)
    if session().as_json:
        emit_json({"dataset": dataset, "new": len(made.uids), "known": made.duplicates})
    else:
        emit(f"{dataset} is made: {count(len(made.uids), 'new pair')}, {made.duplicates:,} that were there already.")
