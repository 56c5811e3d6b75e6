"""Which rows a command of `tuningfork data` acts on: uids, or a query of the search language with --where.
Queries are read by store.query; what is done to the rows belongs to the commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from store.errors import BadInput
from tui.cli.session import Session, session


class QueryText(click.ParamType):
    """A query of the search language, with completion of its filters and their values."""

    name = "query"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = ctx.find_object(Session) or Session(home_given=ctx.find_root().params.get("home"))
            if not found.home.database.exists():
                return []
            from store import query

            return [CompletionItem(text) for text in query.completions(found.store, incomplete)]
        except Exception:  # whatever is wrong, the user is only typing: the command itself will report it
            return []


QUERY = QueryText()


def rows_chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument UID... and the option --where; `chosen` makes uids of them."""
    help = "All pairs that this finds, as `data search` does."
    command = click.option("--where", type=QUERY, metavar="QUERY", help=help)(command)
    return click.argument("uids", nargs=-1, metavar="[UID...]")(command)


def chosen(uids: Sequence[str], where: str | None) -> list[str]:
    """The uids of the pairs that were named or that the query finds. BadInput when there is nothing to act on."""
    from store import pairs

    store = session().store
    return queried(uids, where) if where is not None else [pairs.get(store, uid).uid for uid in named(uids)]


def named(uids: Sequence[str]) -> Sequence[str]:
    """The uids, when there are some. BadInput otherwise."""
    if not uids:
        raise BadInput("No row was named.", where="UID", todo='Name uids, or choose pairs with --where "QUERY".')
    return uids


def queried(uids: Sequence[str], where: str) -> list[str]:
    """The uids of the pairs that a query finds. BadInput when it is empty, finds nothing, or uids are named too."""
    from store import query

    if uids:
        raise BadInput("Rows are named and searched for.", where="--where", todo="Give uids or --where, not both.")
    if not where.strip():
        todo = "To change every pair, write a filter that all of them match, such as len>0."
        raise BadInput("The query is empty.", where="--where", todo=todo)
    found = query.uids(session().store, where)
    if not found:
        raise BadInput("No pair matches.", where="--where", todo="Try it with: tuningfork data search QUERY")
    return found
