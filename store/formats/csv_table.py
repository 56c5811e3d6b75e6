"""CSV: a table with a header whose columns have the names of one of the other formats; also with ; tab or |.
It is written with the columns system, question, answer."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from store.formats.base import DataFormat, Row, parsed, register
from store.formats.source import DataFile, Problem
from store.formats.values import container_of, values
from store.formats.writing import written
from store.records import Pair

_HEADER = ("system", "question", "answer")


@register
class CsvTable(DataFormat):
    """One row of a table for each pair."""

    name = "csv"
    suffixes = (".csv", ".tsv")
    help = "CSV with such columns"

    def sniff(self, file: DataFile) -> int | None:
        """Whether the file is a table."""
        return 0 if container_of(file) == "csv" else None

    def read(self, file: DataFile, *, mixed: bool = False) -> Iterator[Row | Problem]:
        """Each row in the format that its columns show."""
        for found in values(file, "csv"):
            yield found if isinstance(found, Problem) else parsed(found, None, mixed=True)

    def cannot_hold(self, item: Pair) -> str | None:
        """A table has a column for each text, and none for more turns."""
        return "earlier turns" if item.history else None

    def write(self, path: Path, items: Iterable[Pair]) -> int:
        """Commas between all columns, tabs for the suffix .tsv; everything is quoted."""
        count = 0
        with written(path, newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", quoting=csv.QUOTE_ALL)
            writer.writerow(_HEADER)
            for count, pair in enumerate(self.check(items), 1):  # noqa: B007  # the count is the answer
                writer.writerow((pair.system, pair.question, pair.answer))
        return count
