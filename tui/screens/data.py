"""Data: find, read, write and sort the pairs that a model learns from.
The table and the detail pane draw; this screen decides what they show and what a key does to it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.screens.base import ModeScreen


class DataScreen(ModeScreen):
    """The first screen."""

    MODE = "data"

    def compose_body(self) -> ComposeResult:
        yield Static("…", classes="empty")
