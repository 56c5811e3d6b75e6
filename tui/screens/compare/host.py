"""What the controllers of Compare need of the app and of the screen that they work for.
Types only: a controller is given these in its constructor and imports neither the app nor the screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from textual.screen import Screen

from store.db import Store
from store.errors import TuningforkError
from tui.bridge import Bridge
from tui.settings import Settings

Result = TypeVar("Result")


class CompareApp(Protocol):
    """The part of the app that controllers use."""

    store: Store
    bridge: Bridge
    settings: Settings

    def tell(self, text: str, *, title: str = "", severity: str = "information", timeout: float = 5) -> None:
        """Show a notice in the corner."""

    def tell_error(self, error: TuningforkError) -> None:
        """Show an error."""

    def remember(self, **changes: str) -> object:
        """Keep settings for the next start."""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text by the terminal."""

    async def push_screen_wait(self, screen: Screen[Result]) -> Result | Any:
        """Show a screen and wait for its result."""


class Background(Protocol):
    """Runs a coroutine function as a worker of the screen; errors of ours are shown to the user.

    An `exclusive` one cancels the worker before it in the same group.
    """

    def __call__(self, work: Callable[[], Awaitable[object]], group: str, *, exclusive: bool = True) -> object: ...
