"""`-` wherever a command takes a file: the standard input is read through a temporary file, because files are read more
than once, and the standard output is written from one."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import TuningforkError

STANDARD = "-"
_INPUT = "stdin"


@contextmanager
def input_file(name: str) -> Iterator[Path]:
    """The file that `name` names, for `-` one with everything from the standard input. Errors then name stdin."""
    if name != STANDARD:
        yield Path(name).expanduser()
        return
    with tempfile.TemporaryDirectory(prefix="tuningfork-") as folder:
        path = Path(folder) / _INPUT
        path.touch(mode=0o600)
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield path
        except TuningforkError as error:
            error.where = error.where and error.where.replace(str(path), _INPUT)
            raise


@contextmanager
def output_file(name: str, suffix: str) -> Iterator[Path]:
    """The file that `name` names; for `-` a temporary one with `suffix`, which goes to the standard output when the
    block ends well."""
    if name != STANDARD:
        yield Path(name).expanduser()
        return
    with tempfile.TemporaryDirectory(prefix="tuningfork-") as folder:
        path = Path(folder) / f"stdout{suffix}"
        yield path
        sys.stdout.flush()
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
