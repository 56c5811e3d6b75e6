"""Stands in for a screen that this installation lacks.
Says so in plain words; holds nothing else."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.screens.base import ModeScreen
from tui.text import content


class MissingScreen(ModeScreen):
    """Shown when the module of a mode cannot be found."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def compose_body(self) -> ComposeResult:
        yield Static(content(f"The screen “{self.mode}” is not part of this installation."), classes="empty")
