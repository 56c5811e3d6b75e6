"""Checkpoint and adapter folders, complete or not there at all: manifests of hashes, checks before a resume, pruning.
Files and hashes only; the trainer decides what goes into a checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.core.files import flush, sha256_of
from engine.models.saved_files import MANIFEST, manifest_of
from engine.training.config import TrainConfig
from engine.training.estimate import total_steps
from store.canon import canonical, sha256
from store.errors import BadInput, Conflict
from store.records import SnapshotRow

NEEDED = ("adapter_model.safetensors", "adapter_config.json", "optimizer.pt", "scheduler.pt", "trainer_state.json")
"""What a checkpoint needs to be resumed from; without one of them training would silently start from the beginning."""

END = "end"
"""The folder beside the checkpoints with the state at the end of a finished run, from which it can be continued."""
_LENGTH = ("steps", "epochs")
"""Fields that may change between attempts of a run, as long as its steps do not become fewer."""

Files = dict[str, dict[str, Any]]
"""File name -> {"sha256", "bytes"}."""


def data_hash(rows: Sequence[SnapshotRow]) -> str:
    """One hash over the content and split of all rows in their order: equal data trains equally."""
    return sha256(canonical([[row.split, row.content_hash] for row in sorted(rows, key=lambda row: row.ord)]))


def seal(folder: Path, facts: Mapping[str, Any]) -> Files:
    """Hash every file of `folder` and write its manifest last: {**facts, "files": …}. Returns the files' part."""
    files: Files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
        files[str(path.relative_to(folder))] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        flush(path)
    part = folder / f"{MANIFEST}.part"
    part.write_text(json.dumps({**facts, "files": files}, indent=1, ensure_ascii=False), "utf-8")
    flush(part)
    part.replace(folder / MANIFEST)
    return files


def facts(
    config: TrainConfig, rows: Sequence[SnapshotRow], step: int, total: int, val_loss: float | None = None
) -> dict[str, Any]:
    """What a manifest records besides its files."""
    measured = {} if val_loss is None else {"val_loss": val_loss}
    return {
        **measured,
        "format": 1,
        "base": config.model,
        "step": step,
        "total_steps": total,
        "config": config.what_comes_out(),
        "config_hash": config.hash(),
        "data_hash": data_hash(rows),
    }


def verify(folder: Path, config: TrainConfig, rows: Sequence[SnapshotRow]) -> int:
    """Check a checkpoint before it is resumed from; returns its step.

    BadInput when it is incomplete or a file changed since it was written; Conflict when it belongs to another
    configuration or to other data.
    """
    other = "Resume from another checkpoint, or start a new run."
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        step, files = int(manifest["step"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput("The checkpoint is incomplete: it has no manifest.", where=str(folder), todo=other) from error
    for name in (*NEEDED, *files):
        path = folder / name
        if name not in files or not path.is_file():
            raise BadInput(f"The checkpoint is incomplete: {name} is missing.", where=str(folder), todo=other)
        if path.stat().st_size != files[name]["bytes"] or sha256_of(path) != files[name]["sha256"]:
            raise BadInput(f"The checkpoint is damaged: {name} is not what was saved.", where=str(folder), todo=other)
    same_config = manifest.get("config_hash") == config.hash() or _only_longer(manifest, config, rows)
    for same, what in (
        (same_config, "another configuration"),
        (manifest.get("data_hash") == data_hash(rows), "other data"),
    ):
        if not same:
            todo = "A resumed run must continue as it began, except for more steps; start a new run instead."
            raise Conflict(f"The checkpoint was made with {what}.", where=str(folder), todo=todo)
    return step


def _only_longer(manifest: Mapping[str, Any], config: TrainConfig, rows: Sequence[SnapshotRow]) -> bool:
    """Whether a configuration differs from the manifest's in nothing but more steps."""
    before, after = (
        {name: value for name, value in dict(found).items() if name not in _LENGTH}
        for found in (manifest.get("config", {}), config.what_comes_out())
    )
    total = total_steps(config, sum(row.split == "train" for row in rows))
    return before == after and int(manifest.get("total_steps", 0)) <= total


def place(folder: Path, final: Path) -> None:
    """Move a finished folder to its place in one step; what was there is replaced."""
    if final.exists():
        shutil.rmtree(final)
    folder.replace(final)


def saved(folder: Path) -> list[tuple[int, Path]]:
    """The complete checkpoints in `folder`, oldest step first."""
    found = [path for path in folder.glob("step-*") if (path / MANIFEST).is_file() and path.name[5:].isdigit()]
    return sorted((int(path.name[5:]), path) for path in found)


def prune(folder: Path, keep: int) -> list[Path]:
    """Delete all but the last `keep` checkpoints and the one with the lowest validation loss; returns what was deleted.

    Of equal losses the later checkpoint counts. Without losses only the last ones are kept.
    """
    found = saved(folder)
    losses = [(float(loss), -step) for step, path in found if (loss := manifest_of(path).get("val_loss")) is not None]
    best = -min(losses)[1] if losses else None
    return _delete(path for step, path in found[:-keep] if step != best)


def drop_later(folder: Path, step: int) -> list[Path]:
    """Delete the checkpoints after `step`, from which a run continues another way; returns what was deleted."""
    return _delete(path for later, path in saved(folder) if later > step)


def _delete(paths: Iterable[Path]) -> list[Path]:
    deleted = list(paths)
    for path in deleted:
        (path / MANIFEST).unlink()  # first, so that a half-deleted checkpoint never counts as complete
        shutil.rmtree(path)
    return deleted
