"""Exports that lie in the home: cleaning up after a dead process, removing one, and how to use one.
Light, for listings; making exports is make.py's."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from engine.core.files import read_json
from engine.export import targets
from engine.export.public_names import EMBEDDED_ON_HUB
from engine.export.targets import shell
from engine.export.targets.base import ExportUse
from engine.models import default_model
from store import exports
from store.db import Store
from store.errors import Conflict, UserError
from store.home import Home
from store.records import Export


def lock_path(home: Home, export_id: int) -> Path:
    """The file that an export's process keeps locked; the system unlocks it when that process dies."""
    return home.exports / f".{export_id}.lock"


def sweep(store: Store) -> list[Export]:
    """Mark exports whose process is gone as failed, and delete their unfinished files. Returns those exports."""
    left = []
    for export in exports.all_exports(store):
        if export.state != "working" or _alive(store, export):
            continue
        lock = lock_path(store.home, export.id)
        _sweep_part(lock)
        with contextlib.suppress(UserError):  # another terminal may sweep at this moment
            left.append(exports.fail(store, export.id, "The process ended before the export did."))
        lock.unlink(missing_ok=True)
    return left


def part_of(place: Path, export_id: int) -> Path:
    """The hidden folder in which an export is built, beside its final place."""
    return place.parent / f".{place.name[:40]}.{export_id}.part"


def _sweep_part(lock: Path) -> None:
    """Delete the folder that a dead process was building in."""
    with contextlib.suppress(OSError):
        part = Path(lock.read_text("utf-8"))
        if part.is_absolute() and part.name.endswith(".part"):
            shutil.rmtree(part, ignore_errors=True)


def _alive(store: Store, export: Export) -> bool:
    if export.state != "working":
        return False
    try:
        with lock_path(store.home, export.id).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def remove(store: Store, export_id: int) -> list[Path]:
    """Deletes an export's files and its row; returns what was deleted. Conflict while it is being made."""
    export = exports.get(store, export_id)
    if _alive(store, export):
        raise Conflict(f"The export {export_id} is being made.", todo="Cancel it first.")
    gone = files_of(store.home, export)
    for path in gone:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for parent in {path.parent for path in gone}:
        with contextlib.suppress(OSError):  # not empty: something else is there
            if parent.is_relative_to(store.home.exports) and parent != store.home.exports:
                parent.rmdir()
    exports.remove(store, export_id)
    return gone


def files_of(home: Home, export: Export) -> list[Path]:
    """The files and folders that an export consists of and that are there: its own folder when that is in the home,
    else only what its verification lists as written."""
    path = home.absolute(export.path)
    inside = next((p for p in (path, path.parent) if p.is_dir() and _is_own_folder(home, p)), None)
    if inside is not None:
        return [inside]
    folder = path if path.is_dir() else path.parent
    names = [name for name in export.verification.get("files", []) if PurePath(name).name == name]
    return [folder / name for name in names if (folder / name).exists()]


def _is_own_folder(home: Home, folder: Path) -> bool:
    """Whether a folder is exports/RUN/EXPORT of this home, with no link or `..` on the way."""
    return folder.resolve() == home.exports.resolve() / folder.parent.name / folder.name and not folder.is_symlink()


def commands(home: Home, export: Export) -> list[tuple[str, str]]:
    """(program, command line) to use a finished export with; empty for one that is not done."""
    if export.state != "done" or export.format not in targets.REGISTRY:
        return []
    embedded = export.verification.get("base") == default_model.NAME
    base = default_model.gguf() if embedded else Path("BASE.gguf")
    return usage(export.format, home.absolute(export.path), export.verification, base)


def usage(format: str, path: Path, verification: Mapping[str, Any], base_gguf: Path) -> list[tuple[str, str]]:
    """(program, command line) to use the export at `path` with; `base_gguf` is the base's GGUF file."""
    base = str(verification.get("base") or "BASE")
    use = ExportUse(
        path=path,
        name=shell.model_name(str(verification.get("run") or path.stem)),
        base=EMBEDDED_ON_HUB if base == default_model.NAME else base,  # a local path works on this machine
        base_gguf=base_gguf,
        rank=_rank(path),
    )
    return targets.get(format).commands(use)


def _rank(path: Path) -> int | None:
    """The rank of the adapter in a folder; None where there is none."""
    try:
        rank = read_json(path / "adapter_config.json").get("r")
    except UserError:
        return None  # not an adapter's folder, or one that is gone: the command still shows what to do
    return rank if isinstance(rank, int) else None
