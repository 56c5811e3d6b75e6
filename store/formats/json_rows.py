"""JSON as values, each with its line: a list, lines, objects one after another, and a list inside an object.
Knows no data format; a value may be anything that JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from json.decoder import WHITESPACE  # type: ignore[attr-defined]  # public in CPython, absent from the stubs
from pathlib import Path
from typing import Any

from store.errors import BadInput
from store.formats import content
from store.formats.source import PLACEHOLDERS, DataFile, Problem, Value


class RepeatedFields(dict[str, Any]):
    """A JSON object in which a name stands twice: one of the two values would be lost."""

    names: tuple[str, ...] = ()


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) == len(members):
        return found
    names = [name for name, _ in members]
    repeated = RepeatedFields(found)
    repeated.names = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
    return repeated


_DECODER = json.JSONDecoder(parse_constant=lambda name: None, object_pairs_hook=_object)  # NaN means no value


def json_values(file: DataFile) -> Iterator[Value | Problem]:
    """The values of a JSON file; a bad line costs that line alone. BadInput when there are none or a list is broken."""
    with file.open() as opened:
        first = next((line for raw in opened if (line := raw.removeprefix(content.BOM).strip())), b"")
        alone = bool(first) and not any(line.strip() for line in opened)
    if not first:
        what = "The file holds nothing but white space."
        raise BadInput(what, where=str(file.path), todo="Check that the right file was saved.")
    if first.startswith(b"["):
        return _list(file, file.text(), 0, whole=True)
    if first.startswith(b"{"):
        value = _value_of(first)
        if value is None:
            text = file.text()
            start = WHITESPACE.match(text, 0).end()
            whole = _value_at(text, start)
            if whole is not None:  # objects spread over several lines each
                value, end = whole
                if WHITESPACE.match(text, end).end() == len(text):
                    return _wrapped(file, text, start, value) or _stream(file, text)
                return _stream(file, text)
        elif alone and isinstance(value, dict) and not file.known(value):
            text = file.text()
            return _wrapped(file, text, WHITESPACE.match(text, 0).end(), value) or _lines(file)
    return _lines(file)


def _value_of(line: bytes) -> Any:
    """The JSON value that a line is, also with a comma after it; None when it is none."""
    try:
        text = line.decode().rstrip().removesuffix(",")
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if not text[end:].strip() else None


def _value_at(text: str, at: int) -> tuple[Any, int] | None:
    try:
        found: tuple[Any, int] = _DECODER.raw_decode(text, at)
        return found
    except (ValueError, RecursionError):
        return None


# -- an object that holds the list of rows: {"data": [...]} ------------------------------------------------------------


def _wrapped(file: DataFile, text: str, at: int, value: Any) -> Iterator[Value | Problem] | None:
    """The rows of the one list of objects inside an object that is not a row itself; None without such a list."""
    if not isinstance(value, dict) or file.known(value):
        return None
    keys = _way_to_rows(file, value)
    if not keys:
        return None
    beside: list[str] = []
    for key in keys:
        for name in value:
            if name == PLACEHOLDERS:
                file.declared = tuple(str(each) for each in value[name]) if isinstance(value[name], list) else ()
            elif name != key:
                beside.append(name)
        value = value[key]
        at = _member(text, at, key)
    file.beside = tuple(beside)
    return _list(file, text, at, whole=False)


def _way_to_rows(file: DataFile, value: dict[str, Any]) -> list[str]:
    """The names that lead to the one list of objects, from the outside in."""
    lists = [key for key, inner in value.items() if isinstance(inner, list) and inner and isinstance(inner[0], dict)]
    if len(lists) > 1:
        shown = ", ".join(f"{key} ({len(value[key]):,})" for key in lists)
        todo = "Save each list as a file of its own; --split sets the split of a file."
        raise BadInput(f"The file holds several lists of rows: {shown}.", where=str(file.path), todo=todo)
    if lists:
        return lists
    inside = {key: inner for key, inner in value.items() if isinstance(inner, dict)}
    ways = [[key, *way] for key, inner in inside.items() if (way := _way_to_rows(file, inner))]
    return ways[0] if len(ways) == 1 else []


def _member(text: str, at: int, key: str) -> int:
    """Where the value of `key` begins in the (valid) object that begins at `at`."""
    at = WHITESPACE.match(text, at + 1).end()
    while True:
        name, at = _DECODER.raw_decode(text, at)
        at = WHITESPACE.match(text, WHITESPACE.match(text, at).end() + 1).end()  # past the colon
        if name == key:
            return at
        _, at = _DECODER.raw_decode(text, at)
        at = WHITESPACE.match(text, WHITESPACE.match(text, at).end() + 1).end()  # past the comma


# -- lines, lists and streams ------------------------------------------------------------------------------------------


def _lines(file: DataFile) -> Iterator[Value | Problem]:
    at, seen = 0, False
    with file.open() as opened:
        for number, raw in enumerate(opened, 1):
            line = raw.removeprefix(content.BOM) if number == 1 else raw
            try:
                if line and not line.isspace():
                    found = _line(number, line)
                    if not seen and _declares(file, found):
                        continue
                    seen = True
                    yield found
            except UnicodeDecodeError as error:
                offset = at + error.start + len(raw) - len(line)
                raise content.not_utf8(file.path, number, offset, line[error.start], line) from None
            at += len(raw)


def _declares(file: DataFile, found: Value | Problem) -> bool:
    """Whether the first line lists the file's placeholders: {"placeholders": ["name"]}."""
    value = found.value if isinstance(found, Value) else None
    if not isinstance(value, dict) or list(value) != [PLACEHOLDERS] or not isinstance(value[PLACEHOLDERS], list):
        return False
    file.declared = tuple(str(each) for each in value[PLACEHOLDERS])
    return True


def _line(number: int, raw: bytes) -> Value | Problem:
    text = raw.decode()
    try:
        try:
            return Value(number, _DECODER.decode(text))
        except json.JSONDecodeError:
            bare = text.rstrip()
            if not bare.endswith(","):
                raise
            return Value(number, _DECODER.decode(bare[:-1]))  # a comma after every line
    except json.JSONDecodeError as error:
        return Problem(number, "", f"is not valid JSON: {_plain(error)} (column {error.colno})", text.strip()[:2_000])
    except (ValueError, RecursionError) as error:  # a number of a million digits, a thousand brackets
        return Problem(number, "", f"cannot be read as JSON: {error}", text.strip()[:2_000])


_FIX = "Correct that place; nothing was imported."


def _list(file: DataFile, text: str, start: int, *, whole: bool) -> Iterator[Value | Problem]:
    """The items of the JSON list at `start`, each with its line; `whole` when nothing may follow the list.

    A list that is broken anywhere has no reliable rest: BadInput with the line.
    """
    path = file.path
    at = WHITESPACE.match(text, start).end() + 1
    line = 1 + text.count("\n", 0, at)
    at, line = _skip(text, at, line)
    if text[at : at + 1] == "]":
        raise BadInput("The list is empty.", where=str(path), todo="Check that the right file was saved.")
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
            raise BadInput(f"The file is not valid JSON: {what}.", where=f"{path}:{line}", todo=_FIX)
        at, line = _skip(text, at + 1, line)
    end, line = _skip(text, at + 1, line)
    if whole and end < len(text):
        raise BadInput("The file is not valid JSON: there is more after the list.", where=f"{path}:{line}", todo=_FIX)


def _stream(file: DataFile, text: str) -> Iterator[Value | Problem]:
    """Objects one after another, also with commas between them."""
    at, line = _skip(text, 0, 1)
    while at < len(text):
        value, end = _decode(file.path, text, at)
        yield Value(line, value)
        line += text.count("\n", at, end)
        at, line = _skip(text, end, line)
        if text[at : at + 1] == ",":
            at, line = _skip(text, at + 1, line)


def _decode(path: Path, text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        what = f"The file is not valid JSON: {_plain(error)} (column {error.colno})."
        raise BadInput(what, where=f"{path}:{error.lineno}", todo=_FIX) from None
    except (ValueError, RecursionError) as error:
        line = text.count("\n", 0, at) + 1
        raise BadInput(f"The file cannot be read as JSON: {error}.", where=f"{path}:{line}", todo=_FIX) from None


def _skip(text: str, at: int, line: int) -> tuple[int, int]:
    end = WHITESPACE.match(text, at).end()
    return end, line + text.count("\n", at, end)


def _plain(error: json.JSONDecodeError) -> str:
    return error.msg[0].lower() + error.msg[1:]
