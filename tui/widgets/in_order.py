"""Fields in which keys act in the order typed, however fast they come.
Use `Field` or `Area`; another widget takes `InOrder` as its first base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.events import Key
from textual.widgets import Input, TextArea

if TYPE_CHECKING:
    from textual.binding import BindingsMap


class InOrder:
    """Runs its own bindings when their key's turn comes.

    The framework lets the key travel up to the app first, and a letter typed right behind a backspace overtakes it:
    over a slow link, where keys arrive in bunches, a quick correction would delete the wrong letter.
    """

    if TYPE_CHECKING:  # not a widget itself: the framework takes styles from the first base that is one
        _bindings: BindingsMap
        app: Any

    async def _on_key(self, event: Key) -> None:
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if not binding.priority and await self.app.run_action(binding.action, self):
                event.prevent_default()  # else the base class would handle the key as well
                event.stop()
                return


class Field(InOrder, Input):
    """A line of input."""


class Area(InOrder, TextArea):
    """A box of text."""
