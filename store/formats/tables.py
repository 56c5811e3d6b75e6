"""Tables as values: CSV (also with ; tab or |) and Parquet. A row is an object with one field for each column.
Knows no data format. pyarrow is imported only when a Parquet file is really read."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from store.errors import BadInput
from store.formats.content import import_pyarrow
from store.formats.source import PLACEHOLDERS, DataFile, Problem, Value

_LONGEST_FIELD = 1 << 30
_DELIMITERS = ",;\t|"
_BATCH = 1_000
_LOOKED_AT = 50
"""So many rows show whether a table is one of ours, when its columns alone do not."""


def columns_of(text: str) -> list[str]:
    """The column names that the first line of a CSV text gives; empty when it has one column or none."""
    start, _ = _header_at(text)
    line = text[start:].split("\n", 1)[0].strip("\r\n")
    try:
        names = next(csv.reader([line], delimiter=_delimiter(line), skipinitialspace=True), [])
    except csv.Error:
        return []
    return [_name(name) for name in names] if len(names) > 1 else []


def csv_values(file: DataFile) -> Iterator[Value | Problem]:
    """The rows of a CSV file with a header, which may stand after empty lines and lines that begin with #.

    Spaces after a delimiter are dropped where quotes follow them. BadInput when the header names no known columns, or
    one twice, or when a quote is never closed.
    """
    text = file.text()
    start, comments = _header_at(text)
    for comment in comments:
        name, _, names = comment.lstrip("# ").partition(":")
        if name.strip().lower() == PLACEHOLDERS:
            file.declared = tuple(each for each in re.split(r"[,\s]+", names.strip()) if each)
    csv.field_size_limit(_LONGEST_FIELD)
    before = text.count("\n", 0, start)
    first = text[start:].split("\n", 1)[0]
    delimiter = _delimiter(first)
    spaced = re.search(rf'(^|[^"])"{re.escape(delimiter)} +"(?!")', text[start : start + 20_000]) is not None
    rows = csv.reader(
        io.StringIO(text[start:], newline=""),
        delimiter=delimiter,
        strict=True,
        skipinitialspace=spaced or f"{delimiter} " in first,
    )
    header = [_name(name) for name in _record(file, rows, before + 1) or []]
    _check_names(file, header, before + 1)
    yield from _of_known_columns(file, header, before + 1, _csv_rows(file, header, rows, before))


def _csv_rows(file: DataFile, header: list[str], rows: Any, before: int) -> Iterator[Value | Problem]:
    """The rows below the header, after `before` lines."""
    while True:
        line = before + rows.line_num + 1
        try:
            cells = _record(file, rows, line)
        except csv.Error as error:
            yield Problem(line, "", f"is not valid CSV: {error}")
            continue
        if cells is None:
            return
        if not cells:  # an empty line; one of empty cells is a row, though none that can be used
            continue
        if len(cells) != len(header):
            yield Problem(line, "", f"has {len(cells)} fields, the header has {len(header)}", cells)
        else:
            yield Value(line, dict(zip(header, cells, strict=True)))


def _header_at(text: str) -> tuple[int, list[str]]:
    """Where the header begins: after empty lines, comments and Excel's line `sep=;`; and those comments."""
    at, comments = 0, []
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end].strip()
        if line.startswith("#"):
            comments.append(line)
        elif line and not re.fullmatch(r"sep=.", line):
            break
        at = end
    return at, comments


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _name(column: str) -> str:
    return column.strip().lower()


def _record(file: DataFile, rows: Any, line: int) -> list[str] | None:
    """The next record, None at the end."""
    try:
        found: list[str] | None = next(rows, None)
        return found
    except csv.Error as error:
        if "unexpected end" in str(error):
            what = "A quote that opens here is never closed."
            raise BadInput(what, where=f"{file.path}:{line}", todo="Close it; nothing was imported.") from None
        raise


def _check_names(file: DataFile, columns: list[str], line: int | None) -> None:
    """BadInput when two columns have one name."""
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"The file has two columns named {twice}.", where=_at(file, line), todo="Rename one of them.")


def _at(file: DataFile, line: int | None) -> str:
    return f"{file.path}:{line}" if line else str(file.path)


def _of_known_columns(
    file: DataFile, columns: list[str], line: int | None, rows: Iterator[Value | Problem]
) -> Iterator[Value | Problem]:
    """These rows; BadInput before the first when neither the names of the columns nor what stands in the first rows
    (a text with speakers, a tree of messages) is of a known format."""
    first: list[Value | Problem] = []
    if not file.known(dict.fromkeys(columns, "x")):
        first = list(islice(rows, _LOOKED_AT))
        if not any(isinstance(each, Value) and file.known(each.value) for each in first):
            raise BadInput(
                f"The file has the columns {', '.join(columns[:8])}, which is not a known format.",
                where=_at(file, line),
                todo="Name the columns question and answer, instruction and output, or prompt and completion.",
            )
    yield from chain(first, rows)


def parquet_values(file: DataFile) -> Iterator[Value | Problem]:
    """The rows of a Parquet file; their numbers stand for lines.

    BadInput when it is not a Parquet file or its columns are unknown.
    """
    arrow = import_pyarrow(file.path, "Parquet")
    try:
        source = io.BytesIO(file.content()) if file.compression else file.path
        with arrow.parquet.ParquetFile(source) as opened:
            names = opened.schema_arrow.names
            _check_names(file, names, None)
            found = (value for batch in opened.iter_batches(_BATCH) for value in batch.to_pylist())
            yield from _of_known_columns(file, names, None, (Value(n, value) for n, value in enumerate(found, 1)))
    except (arrow.ArrowException, OSError) as error:
        what = f"The file cannot be read as Parquet ({str(error).splitlines()[0]})."
        raise BadInput(what, where=str(file.path), todo="Check that the right file was saved.") from error
