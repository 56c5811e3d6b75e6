"""Files that are written whole or not at all. Knows no data format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from store.db import translated
from store.files import replacing


@contextmanager
def written(path: Path, newline: str | None = None) -> Iterator[IO[str]]:
    """A text file that appears at `path` when the block ends well, and not at all otherwise. NoSpace on a full disk."""
    with (
        translated(path, OSError),
        replacing(path) as part,
        part.open("w", encoding="utf-8", newline=newline) as file,
    ):
        yield file


def write_json(path: Path, items: Iterable[dict[str, Any]]) -> int:
    """Objects as a JSON list, or as JSON lines for the suffix .jsonl; returns how many."""
    count = 0
    lines = path.suffix.lower() in (".jsonl", ".ndjson")
    with written(path, newline="\n") as file:
        file.write("" if lines else "[\n")
        for count, item in enumerate(items, 1):  # the count is the answer
            file.write(
                ("" if lines or count == 1 else ",\n") + json.dumps(item, ensure_ascii=False) + ("\n" if lines else "")
            )
        file.write("" if lines else "\n]\n")
    return count
