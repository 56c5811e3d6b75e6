"""Tables: CSV (also with ; or tab) and Parquet, whose columns have the names of one of the JSON formats.
Parquet needs pyarrow, which is imported when a Parquet file is really read or written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from store.db import translated
from store.errors import BadInput, Unsupported
from store.formats import alpaca, openai, preference, prompt_completion, sharegpt
from store.formats.base import Row, Shape, parsed, written
from store.formats.source import Problem, check_file, read_text
from store.records import Pair

_BY_COLUMN: tuple[Any, ...] = (preference, alpaca, prompt_completion)
_BY_LIST: tuple[Any, ...] = (preference, openai, sharegpt, alpaca, prompt_completion)
_LONGEST_FIELD = 1 << 30
_HEADER = ("system", "question", "answer")


def read_csv(path: Path) -> Iterator[Row | Problem]:
    """Rows of a CSV file with a header. BadInput when the header names no known columns or a quote is never closed."""
    text = read_text(path)
    csv.field_size_limit(_LONGEST_FIELD)
    first = next(iter(text.splitlines()), "")
    delimiter = max(",;\t|", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = [name.strip().lower() for name in _record(path, rows, 1) or []]
    shape = _shape(path, dict.fromkeys(header), _BY_COLUMN)
    while True:
        line = rows.line_num + 1
        try:
            cells = _record(path, rows, line)
        except csv.Error as error:
            yield Problem(line, "", f"is not valid CSV: {error}")
            continue
        if cells is None:
            return
        if not any(cells):  # an empty line
            continue
        if len(cells) != len(header):
            yield Problem(line, "", f"has {len(cells)} fields, the header has {len(header)}", cells)
        else:
            yield parsed(shape, line, dict(zip(header, cells, strict=True)))


def _record(path: Path, rows: Any, line: int) -> list[str] | None:
    """The next record, None at the end."""
    try:
        found: list[str] | None = next(rows, None)
        return found
    except csv.Error as error:
        if "unexpected end" in str(error):
            what = "a quote that opens here is never closed"
            raise BadInput(what, where=f"{path}:{line}", todo="Close it; nothing was imported.") from None
        raise


def _shape(path: Path, columns: dict[str, Any], shapes: tuple[Any, ...]) -> Shape:
    for shape in shapes:
        if shape.recognises(columns):
            found: Shape = shape
            return found
    raise BadInput(
        f"has the columns {', '.join(list(columns)[:8])}, which is no format that we know",
        where=f"{path}:1",
        todo="Name the columns question and answer, instruction and output, or prompt and completion.",
    )


def write_csv(path: Path, pairs: Iterable[Pair]) -> int:
    """Pairs as CSV (tab-separated for .tsv) with the columns system, question, answer.

    Unsupported for earlier turns.
    """
    count = 0
    with written(path, newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", quoting=csv.QUOTE_ALL)
        writer.writerow(_HEADER)
        for count, pair in enumerate(pairs, 1):  # noqa: B007  # the count is the answer
            if pair.history:
                what = "it has earlier turns, which CSV cannot say"
                raise Unsupported(what, where=f"pair {pair.uid}", todo="Export as openai.")
            writer.writerow((pair.system, pair.question, pair.answer))
    return count


def read_parquet(path: Path) -> Iterator[Row | Problem]:
    """Rows of a Parquet file; their numbers stand for lines. BadInput when it is none or its columns are unknown."""
    check_file(path)
    arrow = _arrow(path)
    try:
        with arrow.parquet.ParquetFile(path) as file:
            shape = _shape(path, dict.fromkeys(file.schema_arrow.names), _BY_LIST)
            number = 0
            for batch in file.iter_batches(1_000):
                for value in batch.to_pylist():
                    number += 1
                    yield parsed(shape, number, value)
    except (arrow.ArrowException, OSError) as error:
        what = f"cannot be read as Parquet ({str(error).splitlines()[0]})"
        raise BadInput(what, where=str(path), todo="Check that the right file was saved.") from error


def write_parquet(path: Path, pairs: Iterable[Pair]) -> int:
    """Pairs as Parquet with one column of messages."""
    arrow = _arrow(path)
    message = arrow.struct([("role", arrow.string()), ("content", arrow.string())])
    table = arrow.table({"messages": arrow.array([pair.messages() for pair in pairs], arrow.list_(message))})
    part = path.with_name(path.name + ".part")
    with translated(path, OSError):
        try:
            arrow.parquet.write_table(table, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return int(table.num_rows)


def _arrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise Unsupported(
            "Parquet needs the package pyarrow", where=str(path), todo="pip install pyarrow, or use JSON lines."
        ) from error
    return pyarrow
