"""Options that several commands share, with completion of the names that the store knows.
Completion never fails and never creates a home: it offers nothing instead."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

import click
from click.shell_completion import CompletionItem

from store.errors import BadInput, Unsupported
from store.records import Kind, Split, Status
from tui.cli.session import Session

if TYPE_CHECKING:
    from engine.inference.sampling import Sampling
    from store.db import Store

KINDS, SPLITS, STATUSES = (click.Choice(get_args(choice)) for choice in (Kind, Split, Status))


class StoreName(click.ParamType):
    """A name from the store; `find` lists those to offer."""

    def __init__(self, name: str, find: Callable[[Store], Iterable[str]]) -> None:
        self.name = name
        self._find = find

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            session = ctx.find_object(Session) or Session(home_given=ctx.find_root().params.get("home"))
            if not session.home.database.exists():
                return []
            found = [name for name in self._find(session.store) if name.startswith(incomplete)]
        except Exception:  # whatever is wrong, the user is only typing: the command itself will report it
            return []
        return [CompletionItem(name) for name in found]


def _datasets(store: Store) -> Iterable[str]:
    from store import datasets

    return [dataset.name for dataset in datasets.all_datasets(store)]


def _runs(store: Store) -> Iterable[str]:
    from store import runs

    return [run.name for run in runs.all_runs(store)]


def _models(store: Store) -> Iterable[str]:
    from engine.models import refs

    return refs.known(store)


class ModelName(StoreName):
    """A model reference. A relative path means the folder in which it was typed: the chat server runs in another."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from engine.models import refs

        return refs.as_typed(value)


DATASET, RUN, MODEL = StoreName("name", _datasets), StoreName("run", _runs), ModelName("ref", _models)

dataset_option = click.option("--dataset", type=DATASET, required=True, metavar="NAME", help="The dataset.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


_SAMPLING: tuple[tuple[str, type, float, str], ...] = (
    ("seed", int, 0, "The same seed gives the same text."),
    ("temperature", float, 0.0, "0 always takes the most likely token; higher is more random."),
    ("top_p", float, 1.0, "Sample from the most likely tokens that add up to this probability."),
    ("top_k", int, 0, "Sample from this many of the most likely tokens; 0 for all."),
    ("min_p", float, 0.0, "Leave out tokens below this share of the most likely one's probability."),
    ("repeat_penalty", float, 1.0, "Above 1 makes repetition less likely."),
    ("max_tokens", int, 256, "Longest answer, in tokens."),
)
"""Name, type, default and help of each."""


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options for how tokens are chosen; `sampling_of` makes the record from them."""
    for name, kind, default, text in reversed(_SAMPLING):
        flag = "--" + name.replace("_", "-")
        command = click.option(flag, type=kind, default=default, show_default=True, help=text)(command)
    about = "Let a model like Qwen3 think before it answers, or not; without it, its chat template decides."
    return click.option("--thinking/--no-thinking", default=None, help=about)(command)


def sampling_of(values: dict[str, Any]) -> Sampling:
    """Take the sampling options out of a command's keyword arguments. BadInput names one that is out of range."""
    from engine.inference.sampling import Sampling

    with options_named():
        numbers = {name: values.pop(name) for name, *_ in _SAMPLING}
        return Sampling.from_json({**numbers, "enable_thinking": values.pop("thinking")})


@contextmanager
def options_named(fields: Container[str] | None = None) -> Iterator[None]:
    """Let an error about a field, or about one of these, name the option that was typed, and point to the command's
    help."""
    try:
        yield
    except (BadInput, Unsupported) as error:
        if fields is not None and error.where not in fields:
            raise
        option = f"--{error.where.replace('_', '-')}" if error.where else None
        todo = error.todo or f"See: {click.get_current_context().command_path} --help"
        raise type(error)(error.what, where=option, todo=todo) from None
