"""The data formats that files come in: which there are, which one a file is in, and its rows.
One module for each format, which registers itself when it is imported; every module of this package is. What happens
to the rows is decided in importing.py."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TypeGuard

from store.errors import BadInput
from store.formats.base import FORMATS, DataFormat, Row, by_rank, is_known, register
from store.formats.placeholders import fill, unfilled
from store.formats.source import DataFile, Problem, Value
from store.formats.values import sample

__all__ = [
    "FORMATS",
    "DataFile",
    "DataFormat",
    "Problem",
    "Row",
    "fill",
    "find_format",
    "open_file",
    "read",
    "register",
    "sniff",
    "unfilled",
]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def open_file(path: Path) -> DataFile:
    """A file to read rows from. BadInput when there is none, when it is empty, or when it cannot be opened."""
    return DataFile(path, is_known)


def find_format(name: str) -> DataFormat:
    """The format of this name. BadInput lists the names there are."""
    if name not in FORMATS:
        raise BadInput(f"{name!r} is not a known format.", where="format", todo=f"Use one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def read(file: DataFile, format: str = "auto") -> Iterator[Row | Problem]:
    """The rows of a file and the problems in it. With `auto` every row may be in a format of its own.

    BadInput when the whole file cannot be used.
    """
    found = sniff(file) if format == "auto" else find_format(format)
    return found.read(file, mixed=format == "auto")


def sniff(file: DataFile) -> DataFormat:
    """The format that a file is in, by its content: the first row that any format knows decides.

    BadInput when none fits: what one of them found wrong with the file counts only then.
    """
    best: tuple[int, DataFormat] | None = None
    wrong: BadInput | None = None
    for format in by_rank():
        try:
            at = format.sniff(file)
        except BadInput as error:
            wrong = wrong or error
            continue
        if at is not None and (best is None or at < best[0]):
            best = at, format
            if at == 0:
                break
    if best is not None:
        return best[1]
    raise wrong or _unknown(file)


def _unknown(file: DataFile) -> BadInput:
    first = sample(file)
    seen = next(([str(key) for key in each.value] for each in first if _is_object(each)), [])
    wrong = next((each for each in first if isinstance(each, Problem)), None)
    if wrong is not None and not seen:
        todo = "Correct that line, or save the data in another format."
        return BadInput(f"The line {wrong.what}.", where=f"{file.path}:{wrong.line}", todo=todo)
    fields = f"The file has the fields {', '.join(seen[:8])}" if seen else "The file has no JSON objects"
    known = "; ".join(format.help for format in by_rank()[::-1])
    return BadInput(f"{fields}, which is not a known format.", where=str(file.path), todo=f"Known are {known}.")


def _is_object(found: Value | Problem) -> TypeGuard[Value]:
    return isinstance(found, Value) and isinstance(found.value, dict)
