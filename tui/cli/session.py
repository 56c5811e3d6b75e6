"""What one invocation of the command line carries: the home, the open store, and what to say when it is interrupted.
Imports store and engine only when needed, so that `--version` and `--help` stay quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from store.db import Store
    from store.home import Home

NOTHING_LOST = "What was finished is kept; no file was left half-written."


@dataclass
class Session:
    """The context of one command. An interrupt shows `on_interrupt`, what still runs, and `next_step`, what to type."""

    home_given: str | None = None
    debug: bool = False
    as_json: bool = False
    on_interrupt: str = NOTHING_LOST
    next_step: str | None = None
    _store: Store | None = field(default=None, repr=False)

    @property
    def home(self) -> Home:
        """The home folder: `--home`, then TUNINGFORK_HOME, then the platform's place for user data."""
        from store.home import find_home

        return find_home(self.home_given)

    @property
    def store(self) -> Store:
        """The store of this home, opened on first use and created if there is none."""
        if self._store is None:
            from store.db import Store

            self._store = Store.open(self.home.ensure())
        return self._store

    def close(self) -> None:
        """Close the store if it was opened."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def flags(self) -> str:
        """The `--home` to repeat in a suggested command; empty when none was given."""
        import shlex

        return f" --home {shlex.quote(self.home_given)}" if self.home_given else ""


def session() -> Session:
    """The session of the running command."""
    found = click.get_current_context().find_object(Session)
    assert found is not None, "commands run under tui.cli.cli"
    return found


_KEPT = {"home": "home_given", "debug": "debug", "json": "as_json"}


def remember(context: click.Context, param: click.Parameter, value: Any) -> None:
    """Callback of the common options: keep a value that was given, wherever it stood on the line."""
    carrier = context.find_object(Session)
    if value and param.name and carrier is not None:
        setattr(carrier, _KEPT[param.name], value)
