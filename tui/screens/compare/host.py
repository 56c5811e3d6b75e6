"""What the controllers of Compare need of the screen that they work for.
A type only: a controller is given its host in its constructor and does not know the screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from tui.services import AppServices


class CompareHost(Protocol):
    """The screen, as its controllers see it."""

    @property
    def tuningfork(self) -> AppServices:
        """The app; there once the screen is shown."""

    def run_soon(self, work: Callable[[], Awaitable[object]], group: str, *, exclusive: bool = True) -> object:
        """Await the work in the background; errors of ours are shown as a notice.

        An `exclusive` one cancels the work before it in the same group.
        """
