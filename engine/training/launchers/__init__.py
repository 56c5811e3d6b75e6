"""Launchers: how the process of a run is started. To add one, write its file and add it to LAUNCHERS."""

from __future__ import annotations

from engine.training.launchers.base import Launcher
from engine.training.launchers.local import LOCAL
from engine.training.launchers.ray import RAY
from engine.training.launchers.torchrun import TORCHRUN

__all__ = ["LAUNCHERS", "Launcher"]

LAUNCHERS: dict[str, Launcher] = {launcher.name: launcher for launcher in (LOCAL, TORCHRUN, RAY)}
"""Every launcher by name, in the order in which they are offered."""
