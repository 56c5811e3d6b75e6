"""Parquet: a table whose columns have the names of one of the other formats. It is written with a column of messages.
pyarrow is imported only when a Parquet file is really read or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from store.db import translated
from store.files import replacing
from store.formats.base import DataFormat, Row, parsed, register
from store.formats.content import import_pyarrow
from store.formats.source import DataFile, Problem
from store.formats.values import container_of, values
from store.records import Pair


@register
class ParquetTable(DataFormat):
    """A table of messages in columns."""

    name = "parquet"
    suffixes = (".parquet",)
    help = "Parquet with such columns"

    def sniff(self, file: DataFile) -> int | None:
        """Whether the file is Parquet."""
        return 0 if container_of(file) == "parquet" else None

    def read(self, file: DataFile, *, mixed: bool = False) -> Iterator[Row | Problem]:
        """Each row in the format that its columns show."""
        for found in values(file, "parquet"):
            yield found if isinstance(found, Problem) else parsed(found, None, mixed=True)

    def write(self, path: Path, items: Iterable[Pair]) -> int:
        """One column of messages; they have a weight when one of the pairs has a turn that is not trained."""
        arrow = import_pyarrow(path, "Parquet")
        rows = [pair.training_messages() for pair in items]
        weighed = any("weight" in message for row in rows for message in row)
        fields = [("role", arrow.string()), ("content", arrow.string())]
        message = arrow.struct([*fields, ("weight", arrow.int8())] if weighed else fields)
        table = arrow.table({"messages": arrow.array(rows, arrow.list_(message))})
        with translated(path, OSError), replacing(path) as part:
            arrow.parquet.write_table(table, part)
        return int(table.num_rows)
