"""What screens, dialogs and the palette may ask of the app, declared apart from it.
The app imports the screens; they know only this, so neither side needs the other's module."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, cast

from textual.message_pump import MessagePump
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.signal import Signal

from store.db import Store
from store.errors import TuningforkError
from tui.bridge import Bridge
from tui.messages import LiveJobs
from tui.settings import Settings

Result = TypeVar("Result")


class AppServices(Protocol):
    """The app as the rest of the interface sees it; tui.app is the one that implements it."""

    store: Store
    bridge: Bridge
    settings: Settings
    live: LiveJobs
    live_changed: Signal[LiveJobs]
    pairs_changed: Signal[None]
    runs_changed: Signal[None]

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
    ) -> None:
        """Show a short notice in the corner; the text is taken literally."""

    def notify_error(self, error: TuningforkError) -> None:
        """Show an error as a notice."""

    def show_error(self, error: TuningforkError, title: str = ...) -> None:
        """Show an error in a dialog."""

    def remember(self, **changes: str) -> object:
        """Keep a setting for the next start."""

    def choose_theme(self, name: str) -> None:
        """Use a theme, now and at the next start."""

    def action_mode(self, mode: str) -> None:
        """Show a mode's screen."""

    async def act(self, action: str, mode: str | None = None) -> None:
        """Run an action by name, in another mode when one is given."""

    async def compare(self, *models: str) -> None:
        """Open Compare with these lanes."""

    async def train(self, dataset: str, objective: str, on: str | None) -> None:
        """Open Train with a new run on a dataset."""

    async def export(self, run: str, step: int | None) -> None:
        """Open Export with a run, at one of its checkpoints if a step is given."""

    async def push_screen_wait(self, screen: Screen[Result]) -> Result | Any:
        """Open a screen and wait for its result. Call it from a worker."""


def services(node: MessagePump) -> AppServices:
    """The services of the app that a screen or widget belongs to."""
    return cast(AppServices, node.app)
