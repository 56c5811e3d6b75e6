"""A data format that only tests know: blocks of `Q:` and `A:` lines. It is what somebody writes who adds a format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from store.formats import DataFile, DataFormat, Problem, Row, register
from store.formats.base import FORMATS
from store.formats.writing import written
from store.records import Pair, PairDraft


class QuestionsAndAnswers(DataFormat):
    """Two lines for each pair and an empty line after it."""

    name = "qa-text"
    suffixes = (".qa",)
    help = "Q: and A: lines"

    def sniff(self, file: DataFile) -> int | None:
        return 0 if file.head.startswith(b"Q: ") else None

    def read(self, file: DataFile, *, mixed: bool = False) -> Iterator[Row | Problem]:
        line = 1
        for block in file.text().split("\n\n"):
            lines = block.strip("\n").split("\n")
            if len(lines) == 2 and lines[0].startswith("Q: ") and lines[1].startswith("A: "):
                yield Row(line, PairDraft(lines[0][3:], lines[1][3:]), block)
            else:
                yield Problem(line, "", "is not a Q: line and an A: line", block)
            line += block.count("\n") + 2

    def cannot_hold(self, item: Pair) -> str | None:
        return "a system text" if item.system else "earlier turns" if item.history else None

    def write(self, path: Path, items: Iterable[Pair]) -> int:
        blocks = [f"Q: {pair.question}\nA: {pair.answer}" for pair in self.check(items)]
        with written(path, newline="\n") as file:
            file.write("\n\n".join(blocks) + "\n")
        return len(blocks)


@pytest.fixture
def toy_format() -> Iterator[None]:
    """The format, registered for one test."""
    register(QuestionsAndAnswers)
    yield
    del FORMATS[QuestionsAndAnswers.name]
