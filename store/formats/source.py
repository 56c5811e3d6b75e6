"""From bytes on the disk to values with line numbers: encoding, JSON lists, JSON lines, and what is wrong where.
Knows no data format; a value may be anything that JSON can say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import WHITESPACE  # type: ignore[attr-defined]  # public in CPython, absent from the stubs
from pathlib import Path
from typing import Any

from store.db import translated
from store.errors import BadInput

_BOM = b"\xef\xbb\xbf"
_DECODER = json.JSONDecoder()
_AS_UTF8 = "Save it as UTF-8, for example: iconv -f LATIN1 -t UTF-8 FILE"


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be used: where it begins, the field (if one is to blame), what is wrong, the row itself."""

    line: int
    field: str
    what: str
    row: Any = None


@dataclass(frozen=True, slots=True)
class Value:
    """A JSON value and the line where it begins, counted from 1."""

    line: int
    value: Any


def check_file(path: Path) -> None:
    """BadInput unless `path` is a file that can be read and has something in it."""
    if not path.exists():
        raise BadInput("there is no such file", where=str(path), todo="Check the path.")
    if not path.is_file():
        raise BadInput("is not a file", where=str(path), todo="Name a file, not a folder or a pipe.")
    if path.stat().st_size == 0:
        raise BadInput("the file is empty", where=str(path), todo="Check that the right file was saved.")


def read_bytes(path: Path) -> bytes:
    """The whole file. BadInput when it cannot be read or is empty."""
    check_file(path)
    with translated(path, OSError):
        return path.read_bytes()


def read_text(path: Path) -> str:
    """The whole file as text. BadInput names the line and byte where it is not UTF-8."""
    data = read_bytes(path)
    _refuse_utf16(path, data)
    body = data.removeprefix(_BOM)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        at = error.start + len(data) - len(body)
        raise _not_utf8(path, data.count(b"\n", 0, at) + 1, at, data[at]) from None


def objects(path: Path) -> Iterator[Value | Problem]:
    """The values of a JSON list, of JSON lines, or of objects written one after another.

    A bad line costs that line alone. Raises BadInput when the file cannot be opened, is empty or not UTF-8, or when a
    list is broken.
    """
    check_file(path)
    with translated(path, OSError), path.open("rb") as file:
        first = next((line for raw in file if (line := raw.removeprefix(_BOM).strip())), b"")
    _refuse_utf16(path, first)
    if not first:
        raise BadInput(
            "the file holds nothing but white space", where=str(path), todo="Check that the right file was saved."
        )
    if first.startswith(b"["):
        return _list(path, read_text(path))
    if first.startswith(b"{") and not _is_json(first):
        text = read_text(path)
        if _is_json_at(text, WHITESPACE.match(text, 0).end()):
            return _stream(path, text)  # objects spread over several lines each
    return _lines(path)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _is_json_at(text: str, at: int) -> bool:
    try:
        _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(path: Path) -> Iterator[Value | Problem]:
    at = 0
    with translated(path, OSError), path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.removeprefix(_BOM) if number == 1 else raw
                if not line.isspace() and line:
                    yield _line(number, line)
            except UnicodeDecodeError as error:
                offset = at + error.start + len(raw) - len(line)
                raise _not_utf8(path, number, offset, line[error.start]) from None
            at += len(raw)


def _line(number: int, raw: bytes) -> Value | Problem:
    text = raw.decode()
    try:
        return Value(number, json.loads(text))
    except json.JSONDecodeError as error:
        return Problem(number, "", f"is not valid JSON: {_plain(error)} (column {error.colno})", text.strip()[:2_000])
    except (ValueError, RecursionError) as error:  # a number of a million digits, a thousand brackets
        return Problem(number, "", f"cannot be read as JSON: {error}", text.strip()[:2_000])


def _list(path: Path, text: str) -> Iterator[Value | Problem]:
    """The items of a JSON list, each with its line.

    A list that is broken anywhere has no reliable rest: BadInput with the line.
    """
    at, line = WHITESPACE.match(text, 0).end() + 1, 1
    line += text.count("\n", 0, at)
    at, line = _skip(text, at, line)
    if text[at : at + 1] == "]":
        raise BadInput("the list is empty", where=str(path), todo="Check that the right file was saved.")
    while True:
        value, end = _decode(path, text, at)
        yield Value(line, value)
        line += text.count("\n", at, end)
        at, line = _skip(text, end, line)
        mark = text[at : at + 1]
        if mark == "]":
            break
        if mark != ",":
            what = "the list never ends" if not mark else f"there should be a comma before {text[at : at + 20]!r}"
            raise BadInput(f"is not valid JSON: {what}", where=f"{path}:{line}", todo=_MEND)
        at, line = _skip(text, at + 1, line)
    end, line = _skip(text, at + 1, line)
    if end < len(text):
        raise BadInput("is not valid JSON: there is more after the list", where=f"{path}:{line}", todo=_MEND)


_MEND = "Correct that place; nothing was imported."


def _stream(path: Path, text: str) -> Iterator[Value | Problem]:
    at, line = _skip(text, 0, 1)
    while at < len(text):
        value, end = _decode(path, text, at)
        yield Value(line, value)
        line += text.count("\n", at, end)
        at, line = _skip(text, end, line)


def _decode(path: Path, text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        what = f"is not valid JSON: {_plain(error)} (column {error.colno})"
        raise BadInput(what, where=f"{path}:{error.lineno}", todo=_MEND) from None
    except (ValueError, RecursionError) as error:
        line = text.count("\n", 0, at) + 1
        raise BadInput(f"cannot be read as JSON: {error}", where=f"{path}:{line}", todo=_MEND) from None


def _skip(text: str, at: int, line: int) -> tuple[int, int]:
    end = WHITESPACE.match(text, at).end()
    return end, line + text.count("\n", at, end)


def _plain(error: json.JSONDecodeError) -> str:
    return error.msg[0].lower() + error.msg[1:]


def _refuse_utf16(path: Path, data: bytes) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(
            "is UTF-16, not UTF-8", where=str(path), todo="Save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8 FILE"
        )


def _not_utf8(path: Path, line: int, offset: int, byte: int) -> BadInput:
    return BadInput(f"is not UTF-8 (byte 0x{byte:02x} at offset {offset})", where=f"{path}:{line}", todo=_AS_UTF8)
