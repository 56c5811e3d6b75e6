"""Small things about files that every capability needs, each in one place: writing a file whole, reading a JSON object,
hashing, and telling whether an error means a full disk. Knows nothing of what the files are for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from store.errors import BadInput, NoSpace
from store.files import replacing
from store.home import NO_ROOM

_DISK_WORDS = ("no space left on device", "disk is full", "disk quota exceeded", "file too large", "file write failed")
"""How the system and libraries name a full disk, quota or file limit in the text of an error."""


def write_whole(path: Path, data: str | bytes, mode: int = 0o600) -> None:
    """Write a file so that others see the old content or the new, never a part of it, also after a power cut.

    The folder must exist. Raises what `store.files.replacing` raises; then `path` is as it was.
    """
    with replacing(path, mode) as part:
        part.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def write_json(path: Path, body: Any, mode: int = 0o600) -> None:
    """Write a value as indented JSON, whole (see `write_whole`)."""
    write_whole(path, json.dumps(body, indent=2, ensure_ascii=False) + "\n", mode)


def read_json(path: Path, *, optional: bool = False, todo: str = "Choose a complete folder.") -> dict[str, Any]:
    """The JSON object in a file. BadInput, with `todo`, when the file is missing (with `optional`: {}), cannot be read
    or is not an object."""
    try:
        loaded = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if optional:
            return {}
        raise BadInput(f"{path.name} is missing.", where=str(path), todo=todo) from None
    except ValueError as error:
        raise BadInput(f"{path.name} is not valid JSON: {error}.", where=str(path), todo=todo) from None
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read ({error.strerror}).", where=str(path), todo=todo) from error
    if not isinstance(loaded, dict):
        raise BadInput(f"{path.name} is not a JSON object.", where=str(path), todo=todo)
    return loaded


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Flush a file's bytes to the disk, before a manifest or a rename relies on them."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk, quota or file limit is behind an error, also behind one that a library made of it."""
    return any(
        isinstance(link, NoSpace)
        or (isinstance(link, OSError) and link.errno in NO_ROOM)
        or any(word in str(link).lower() for word in _DISK_WORDS)
        for link in causes(error)
    )


@contextlib.contextmanager
def disk_full_as_no_space(what: str, where: Path, todo: str) -> Iterator[None]:
    """Raise NoSpace, saying `what`, for any error in the block that a full disk is behind."""
    try:
        yield
    except Exception as error:
        if isinstance(error, NoSpace) or not is_disk_full(error):
            raise
        raise NoSpace(what, where=str(where), todo=todo) from error


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what caused it, what caused that, and so on."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
