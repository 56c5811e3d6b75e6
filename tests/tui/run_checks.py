"""Stands in for the check of a new run in Train: what it finds is written down, so that no model is needed."""

from __future__ import annotations

from typing import Any

from engine.training.config import TrainConfig
from engine.training.estimate import Estimate
from engine.training.preflight import Preflight
from store.db import Store
from tui.screens.train import report


def preflight(**changes: Any) -> Preflight:
    """Twelve rows in which nothing is wrong."""
    found = {
        "rows": 12, "val_rows": 0, "tokens": 480, "trained_tokens": 120, "truncated": [], "masked": [], "empty": [],
        "longest": 44, "prefix_tokens": 30, "eot_trained": True, "problems": [],
        "samples": [[("<user>Who?", False), ("Ember.", True)]],
    }  # fmt: skip
    return Preflight(**(found | changes))  # type: ignore[arg-type]


def checked(store: Store, dataset: str, config: TrainConfig, on_line: Any) -> report.RunCheck:
    """What `report.check` returns for a run that can start."""
    on_line("Preparing the model: 40%")
    return report.RunCheck(
        preflight(), Estimate(seconds=92.0, memory_bytes=900_000_000, steps=config.steps or 5, note="")
    )
