"""A file that rows are read from: its bytes, decompressed, and its text. Its values are read by values.py."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from store.db import translated
from store.errors import BadInput
from store.formats import content

PLACEHOLDERS = "placeholders"
"""The name under which a file lists its placeholders itself: beside its list of rows, or in a first line of its own."""
_BREAKS = (EOFError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be used: where it begins, the field (if one is to blame), what is wrong, the row itself."""

    line: int
    field: str
    what: str
    row: Any = None


@dataclass(frozen=True, slots=True)
class Value:
    """A value and the line where it begins, counted from 1."""

    line: int
    value: Any


class DataFile:
    """A file that rows are read from. It is looked at when it is made, and read again by each of its methods.

    `known` says whether an object is a row of a known format: one that is not may hold the list of rows.
    Raises BadInput when there is no such file, when it is empty, and when it cannot be opened or decompressed.
    """

    def __init__(self, path: Path, known: Callable[[dict[str, Any]], bool] = lambda value: False) -> None:
        content.check_path(path)
        self.path, self.known = path, known
        self.declared: tuple[str, ...] = ()
        """The placeholders that the file lists itself; known once its rows were read."""
        self.beside: tuple[str, ...] = ()
        """What stands beside the list of rows and is not read; known once its rows were read."""
        with translated(path, OSError), path.open("rb") as file:
            self.compression = content.compression(file.read(8))
        suffixes = [suffix.lower() for suffix in path.suffixes]
        if self.compression and suffixes and suffixes[-1] in content.COMPRESSED_SUFFIXES:
            suffixes.pop()
        self.suffix = suffixes[-1] if suffixes else ""
        with self.open() as file:
            self.head = file.read(content.HEAD)
        self.sample: list[Value | Problem] | None = None
        """The first values, once they were looked at."""

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The decompressed bytes. BadInput when the compressed data is damaged."""
        with translated(self.path, OSError):
            raw = self.path.open("rb")
        with raw:
            try:
                yield content.decompressed(raw, self.compression, self.path) if self.compression else raw
            except _BREAKS as error:
                raise self._damaged(error) from error
            except OSError as error:
                if self.compression and error.errno is None:
                    raise self._damaged(error) from error
                with translated(self.path, OSError):
                    raise

    def _damaged(self, error: Exception) -> BadInput:
        said = str(error).splitlines()[0] if str(error) else repr(error)
        what = f"The {self.compression} data is damaged or cut short ({said})."
        return BadInput(what, where=str(self.path), todo="Download or copy the file again.")

    def content(self) -> bytes:
        """The whole file, decompressed."""
        with self.open() as file:
            return file.read()

    def text(self) -> str:
        """The whole file as text. BadInput names the line and byte where it is not UTF-8, or what the file is."""
        content.refuse_binary(self.path, self.head)
        data = self.content()
        body = data.removeprefix(content.BOM)
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            at = error.start + len(data) - len(body)
            around = data[max(0, at - 2_000) : at + 2_000]
            raise content.not_utf8(self.path, data.count(b"\n", 0, at) + 1, at, data[at], around) from None

    def contains(self, *wanted: bytes) -> bool:
        """Whether one of these (lower-case) byte strings is anywhere in the file, in any case of letters."""
        overlap = max(map(len, wanted)) - 1
        with self.open() as file:
            rest = b""
            while chunk := file.read(1 << 20):
                data = rest + chunk.lower()
                if any(each in data for each in wanted):
                    return True
                rest = data[-overlap:]
        return False
