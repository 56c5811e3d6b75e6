"""`tuningfork exports`: what was made from runs, what its verification found, and removing it.
Files are engine.export.listing's; nothing here touches one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tui.cli.command import Group
from tui.cli.export import described, list_exports, plain, show_commands, show_verification
from tui.cli.options import RUN, yes_option
from tui.cli.output import confirm, emit, emit_json, fields, say
from tui.cli.session import session
from tui.export_summary import divergence, model_name, state_word, title
from tui.formatting import ago, duration, size

if TYPE_CHECKING:
    from store.db import Store
    from store.records import Export


@click.group(
    cls=Group,
    example="""
    tuningfork exports list
    tuningfork exports show 3
    """,
)
def exports() -> None:
    """Exports: list, show with their verification, remove."""


def _fresh() -> Store:
    """The store, after what a dead process left has been cleaned up."""
    from engine.export import listing

    store = session().store
    for each in listing.sweep(store):
        say(f"Export {each.id} ({model_name(each)}, {title(each)}) failed: its process is gone.")
    return store


@exports.command("list", example="tuningfork exports list --run ember --json")
@click.option("--run", type=RUN, metavar="RUN", help="Only those of this run.")
def list_(run: str | None) -> None:
    """List the exports, newest first."""
    from store import exports as kept

    found = kept.all_exports(_fresh(), run)
    if session().as_json:
        emit_json([plain(each) for each in found])
    elif found:
        list_exports(found)
    else:
        say("There is no export yet. Make one: tuningfork export RUN")


@exports.command("show", example="tuningfork exports show 3 --json")
@click.argument("id", type=int)
def show(id: int) -> None:
    """Show an export: where it is, what its verification found, the commands to use it."""
    from store import exports as kept

    made = kept.get(_fresh(), id)
    if session().as_json:
        emit_json(described(made))
        return
    fields(_about(made))
    show_verification(made)
    show_commands(made)


def _about(made: Export) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("export", made.id), ("run", model_name(made)), ("what", title(made))]
    rows += [
        ("state", state_word(made)),
        ("created", f"{ago(made.created_at)} ago"),
        ("path", session().home.absolute(made.path)),
    ]
    if made.bytes is not None:
        rows.append(("size", size(made.bytes)))
    if made.sha256:
        rows.append(("sha256", made.sha256))
    if made.ended_at:
        rows.append(("took", duration((made.ended_at - made.created_at) / 1000)))
    if apart := divergence(made.verification.get("kl")):
        rows.append(("from the run", apart))
    return rows


@exports.command("rm", example="tuningfork exports rm 3 4 --yes")
@click.argument("ids", nargs=-1, required=True, type=int, metavar="ID...")
@yes_option
def rm(ids: tuple[int, ...], yes: bool) -> None:
    """Remove exports and their files. This cannot be undone; the runs stay."""
    from engine.export import listing
    from store import exports as kept

    store = _fresh()
    wanted = [kept.get(store, each) for each in dict.fromkeys(ids)]
    for each in wanted:
        where = session().home.absolute(each.path)
        say(f"  {each.id}  {model_name(each)}, {title(each)}, {size(each.bytes or 0)}: {where}")
    confirm("Remove these files? This cannot be undone.", yes)
    gone = [path for each in wanted for path in listing.remove(store, each.id)]
    if session().as_json:
        emit_json({"removed": [each.id for each in wanted], "deleted": [str(path) for path in gone]})
    else:
        emit(f"Removed: {', '.join(str(each.id) for each in wanted)}.")
