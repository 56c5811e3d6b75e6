"""Scratch folders of long work: for their owner alone, and gone when the work ends. What a killed process left behind
is removed by the next one. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_YOUNG_S = 60.0
"""A folder younger than this is not swept: its process may not have locked it yet."""


@contextlib.contextmanager
def scratch(place: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `place`, mode 0700, for as long as the block runs. It is locked: `sweep` sees that it is in use.

    OSError when it cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as folder:
        handle = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: then nothing is swept either
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(folder)
        finally:
            os.close(handle)


def sweep(place: Path, prefix: str) -> None:
    """Remove the scratch folders in `place` that no process uses any more. Only for a place that is ours alone."""
    for folder in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or time.time() - folder.stat().st_mtime < _YOUNG_S:
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: it is in use
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
