"""How the rows of a file are stored, and its values: what every data format reads from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from store.formats import content
from store.formats.json_rows import json_values
from store.formats.source import DataFile, Problem, Value
from store.formats.tables import columns_of, csv_values, parquet_values

SAMPLE = 50
"""How many values at the beginning say which format a file is in."""
_LOOKS_LIKE_JSON = re.compile(rb'^\s*(\[\s*([{\[\]"]|$)|\{\s*(["}]|$))')
_READERS = {"json": json_values, "csv": csv_values, "parquet": parquet_values}


def container_of(file: DataFile) -> str:
    """How the rows of a file are stored: json (a list, lines, or objects one after another), csv or parquet."""
    head = file.head.removeprefix(content.BOM)
    if head.startswith(b"PAR1"):
        return "parquet"
    table = file.suffix in (".csv", ".tsv")
    if _LOOKS_LIKE_JSON.match(head) or (not table and head.lstrip()[:1] in (b"{", b"[")):
        return "json"
    if table:
        return "csv"
    columns = columns_of(head.decode(errors="replace"))
    return "csv" if len(columns) > 1 and file.known(dict.fromkeys(columns, "x")) else "json"


def values(file: DataFile, container: str | None = None) -> Iterator[Value | Problem]:
    """The values of a file, each with its line. A bad line costs that line alone.

    Raises BadInput when the file is not UTF-8, is something else than rows, or when a list is broken.
    """
    container = container or container_of(file)
    if container != "parquet":
        content.refuse_binary(file.path, file.head)
        content.refuse_markup(file.path, file.head, file.suffix)
    return _READERS[container](file)


def sample(file: DataFile) -> list[Value | Problem]:
    """The first values of a file; they are read once."""
    if file.sample is None:
        file.sample = list(islice(values(file), SAMPLE))
    return file.sample
