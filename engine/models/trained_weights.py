"""The weights that the adapter of a 4-bit run is used on: the base's original ones, or those it was trained on.
Reads what engine.training.worker.four_bit decided and kept in the run's folder; measures nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.core.files import read_json
from engine.models import pinning
from store.errors import Conflict, NotFound
from store.home import Home
from store.records import Run

FILE = "weights.json"
"""In the run's folder: {"used": "nf4" or "original", "folder", "files", "rows", "tokens", "loss", "kl"}."""
NF4 = "on the base's 4-bit weights"
"""How lanes and exports name them."""


@dataclass(frozen=True, slots=True)
class TrainedWeights:
    """A folder with a base's 4-bit weights, dequantised to 16 bits: a plain Hugging Face model."""

    folder: Path


def of(home: Home, run: Run) -> TrainedWeights | None:
    """The 4-bit weights that `run` is used on; None when it is used on its base as that is.

    NotFound when their folder is gone, Conflict when it was changed.
    """
    kept = read_json(home.run_dir(run.uid) / FILE, optional=True)
    if kept.get("used") != "nf4":
        return None
    folder = home.absolute(str(kept["folder"]))
    if not (folder / "config.json").is_file():
        raise NotFound(
            f"The 4-bit weights that run {run.name} was trained on are gone from the disk.",
            where=str(folder),
            todo="Restore the folder, or train the run again.",
        )
    if changed := pinning.changes(kept["files"], pinning.fingerprint_of(None, folder)):
        raise Conflict(
            f"The 4-bit weights that run {run.name} was trained on changed: {', '.join(changed)}.",
            where=str(folder),
            todo="Restore the folder as it was, or train the run again.",
        )
    return TrainedWeights(folder)
