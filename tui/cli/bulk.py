"""The commands of `tuningfork data` that change many pairs, or bring back what a pair was: change, replace, copy,
restore. What they do is in store.bulk and store.pairs; each is one edit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from tui.cli.command import Command
from tui.cli.options import DATASET, KINDS, SPLITS, STATUSES
from tui.cli.output import Progress, emit, emit_json, say
from tui.cli.selection import chosen, rows_chosen
from tui.cli.session import session
from tui.formatting import count
from tui.text import one_line
from tui.worddiff import marked_text

_SHOWN = 10


@click.command(
    "change",
    cls=Command,
    example="""
    tuningfork data change 06f3 06f4 --tag checked
    tuningfork data change --where "dataset:support tag:old" --untag old --status draft
    tuningfork data change --where "source:faq.jsonl" --dataset support --split val
    """,
)
@rows_chosen
@click.option("--status", type=STATUSES, help="Their new status; only ready pairs are trained on.")
@click.option("--kind", type=KINDS, help="Their new kind.")
@click.option("--tag", "add_tags", multiple=True, metavar="TAG", help="Add this tag; can be repeated.")
@click.option("--untag", "remove_tags", multiple=True, metavar="TAG", help="Remove this tag; can be repeated.")
@click.option("--dataset", type=DATASET, metavar="NAME", help="Add them to this dataset; created if missing.")
@click.option("--split", type=SPLITS, help="With --dataset: move them to this split of it.")
def change(uids: tuple[str, ...], where: str | None, **fields: Any) -> None:
    """Change status, kind, tags or dataset of many pairs as one edit. `data undo` undoes it."""
    from store import bulk

    found = chosen(uids, where)
    with Progress("Changing pair", len(found)) as progress:
        done = bulk.apply(session().store, found, bulk.BulkChange(**fields), on_progress=progress.update)
    if session().as_json:
        emit_json({"pairs": len(found), **asdict(done)})
        return
    more = [f"{done.joined:,} joined {fields['dataset']}"] if done.joined else []
    more += [f"{done.moved:,} moved to {fields['split']}"] if done.moved else []
    emit("; ".join([f"{count(done.changed, 'pair')} of {len(found):,} changed", *more]) + ".")


@click.command(
    "replace",
    cls=Command,
    example="""
    tuningfork data replace "Acme Ltd" "Northwind Labs" --where dataset:support --dry-run
    tuningfork data replace --regex "order no\\. (\\d+)" "order #\\1" --where "order no" --field answer
    """,
)
@click.argument("find")
@click.argument("text")
@rows_chosen
@click.option("--regex", is_flag=True, help="FIND is a regular expression; TEXT may name its groups: \\1.")
@click.option("--ignore-case", is_flag=True, help="Find it in any case.")
@click.option(
    "--field",
    "names",
    multiple=True,
    type=click.Choice(("question", "answer", "system", "history")),
    help="Replace only here; can be repeated.  [default: question and answer]",
)
@click.option("--dry-run", is_flag=True, help="Change nothing: show what would be changed.")
def replace(
    find: str, text: str, uids: tuple[str, ...], where: str | None, names: tuple[str, ...], dry_run: bool, **how: bool
) -> None:
    """Replace FIND by TEXT in many pairs as one edit. `data undo` undoes it.

    It looks in questions and answers; --field names other texts. If one pair would become unusable, none is changed.
    """
    from store import bulk

    what = bulk.Replacement(find, text, fields=names or ("question", "answer"), **how)
    found = chosen(uids, where)
    with Progress("Replacing in pair", len(found)) as progress:
        do = bulk.preview if dry_run else bulk.replace_text
        done = do(session().store, found, what, on_progress=progress.update)
    if session().as_json:
        emit_json({"dry_run": dry_run, "found": done.found, "pairs": done.pairs,
                   "samples": [asdict(each) for each in done.samples]})  # fmt: skip
        return
    for each in done.samples[:_SHOWN]:
        emit(f"{each.uid} {each.field}: {one_line(marked_text(each.before, each.after), 400)}")
    if len(done.samples) > _SHOWN:
        say(f"… and {done.found:,} in all.")
    would = "would be " if dry_run else ""
    emit(f"{count(done.found, 'place')} in {count(done.pairs, 'pair')} {would}replaced.")


@click.command("copy", cls=Command, example="tuningfork data copy 06f3")
@click.argument("uid")
def copy(uid: str) -> None:
    """Make a copy of a pair in the same datasets, as a draft to be changed."""
    from store import pairs
    from tui.cli.pairs import pair_json

    new = pairs.copy(session().store, pairs.get(session().store, uid).uid)
    if session().as_json:
        emit_json(pair_json(new))
    else:
        emit(f"Pair {new.uid} made as a draft. Change it with: tuningfork data edit {new.uid}")


@click.command("restore", cls=Command, example="tuningfork data restore 06f3 2")
@click.argument("uid")
@click.argument("revision", type=click.IntRange(1))
def restore(uid: str, revision: int) -> None:
    """Give a pair the content of one of its revisions again; a deleted pair comes back with it.

    `data show UID --history` lists the revisions and what changed in each.
    """
    from store import pairs
    from tui.cli.pairs import pair_json

    store = session().store
    before = pairs.get(store, uid, deleted=True)
    pair = pairs.restore(store, before.uid, revision)
    if session().as_json:
        emit_json(pair_json(pair))
    elif pair.revision == before.revision:
        emit(f"Pair {pair.uid} is as it was in revision {revision} already.")
    else:
        emit(f"Pair {pair.uid} is as it was in revision {revision} (now revision {pair.revision}).")
