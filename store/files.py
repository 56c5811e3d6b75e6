"""Replacing a file: whole or not at all, through a temporary file beside the target's real path. The one place that
does it; knows nothing of what the files are for."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import BadInput, Conflict

_KEPT_OF_NAME = 40
"""Characters of a name that its temporary file keeps: the longest legal name leaves no room for more."""


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """A new, empty temporary file beside `path`; it takes the place of `path` when the block ends well, flushed to the
    disk first. Otherwise `path` stays as it was, and nothing is left beside it.

    A link stays a link: the file that it leads to is replaced. The new file gets `mode`, else the mode of the file that
    it replaces, else that of any new file. Its other hard links keep the old content. Raises BadInput when `path` is a
    folder or a device; OSError when it cannot be written.
    """
    real = target_of(path)
    before = _mode_of(real) if mode is None else mode
    part = real.with_name(f".{real.name[:_KEPT_OF_NAME]}.{secrets.token_hex(4)}.part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if before is None else before))
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        if before is not None:
            part.chmod(before)
        part.replace(real)
    finally:
        part.unlink(missing_ok=True)


def target_of(path: Path) -> Path:
    """The real path of the file that writing to `path` would replace or make.

    BadInput for a folder, a device, a pipe, and a link that leads to itself.
    """
    try:
        found = path.stat()
    except OSError:
        found = None  # nothing is there, or it cannot be reached: writing says so
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise BadInput("It is a folder, not a file.", where=str(path), todo="Name a file in it.")
    if found is not None and not stat.S_ISREG(found.st_mode):
        todo = "Name a file; for the output of the program, write -."
        raise BadInput("It is a device or a pipe, which is never replaced.", where=str(path), todo=todo)
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        raise BadInput("It is a link that leads to itself.", where=str(path), todo="Remove the link.") from None


def check_inside(path: Path, folder: Path) -> None:
    """Raise Conflict when `path` is not inside `folder` once links and `..` are followed."""
    try:
        real, root = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):
        real, root = path, path / "_"
    if not real.is_relative_to(root):
        raise Conflict(
            f"It leads out of {folder}, to {real}.", where=str(path), todo="Remove the link, or name another place."
        )


def _mode_of(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
