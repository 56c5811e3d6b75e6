"""What every format shares: rows and problems, how fields are read, how files are written whole or not at all.
Knows no format by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from store.db import translated
from store.formats.source import Problem, objects
from store.records import PairDraft, PreferenceDraft, Turn

Draft = PairDraft | PreferenceDraft


@dataclass(frozen=True, slots=True)
class Row:
    """A row that could be read; `line` is where it begins."""

    line: int
    draft: Draft
    value: Any = None


@dataclass(frozen=True, slots=True)
class Format:
    """A data format.

    `read` yields rows and problems and raises BadInput for trouble of the whole file; `write` gives the count.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Iterator[Row | Problem]]
    write: Callable[[Path, Iterable[Any]], int]


class Wrong(Exception):
    """A field that cannot be used."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field, self.what = field, what


class Shape(Protocol):
    """A format whose rows are JSON objects."""

    def recognises(self, value: dict[str, Any]) -> bool: ...
    def parse(self, value: dict[str, Any]) -> Draft: ...
    def dump(self, item: Any) -> dict[str, Any]: ...


def json_format(name: str, shape: Any) -> Format:
    """The format of JSON and JSON-lines files whose objects have this shape (a module with what `Shape` says)."""

    def read(path: Path) -> Iterator[Row | Problem]:
        for found in objects(path):
            yield found if isinstance(found, Problem) else parsed(shape, found.line, found.value)

    def write(path: Path, items: Iterable[Any]) -> int:
        return write_json(path, (shape.dump(item) for item in items))

    return Format(name, (".json", ".jsonl"), read, write)


def parsed(shape: Shape, line: int, value: Any) -> Row | Problem:
    """One value as a row, or what is wrong with it."""
    if not isinstance(value, dict):
        return Problem(line, "", f"is {type_name(value)}, not an object with named fields", value)
    try:
        return Row(line, shape.parse(value), value)
    except Wrong as wrong:
        return Problem(line, wrong.field, wrong.what, value)


def text(value: dict[str, Any], *names: str, default: str | None = None) -> str:
    """The first of these fields that is there, as text.

    `default` stands for a missing or null one; without it that is Wrong.
    """
    for name in names:
        found = value.get(name)
        if found is not None:
            return as_text(name, found)
    if default is None:
        raise Wrong(names[0], "is missing")
    return default


def as_text(field: str, value: Any) -> str:
    """`value` when it is text; Wrong otherwise."""
    if not isinstance(value, str):
        raise Wrong(field, f"is {type_name(value)}, not text")
    return value


def type_name(value: Any) -> str:
    """The JSON name of a value's type, with its article."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")


def turns_of(field: str, value: Any, role_key: str, text_key: str, roles: dict[str, str]) -> list[Turn]:
    """A list of {role, text} objects as turns; `roles` maps the file's names to ours."""
    if not isinstance(value, list) or not value:
        raise Wrong(field, "is not a list of messages" if not isinstance(value, list) else "is an empty list")
    turns = []
    for n, item in enumerate(value):
        at = f"{field}[{n}]"
        if not isinstance(item, dict):
            raise Wrong(at, f"is {type_name(item)}, not a message")
        role = as_text(f"{at}.{role_key}", item.get(role_key))
        if role not in roles:
            raise Wrong(
                f"{at}.{role_key}", f"{role[:40]!r} is a role that cannot be trained on; use {', '.join(roles)}"
            )
        turns.append(Turn(roles[role], _content(f"{at}.{text_key}", item.get(text_key))))  # type: ignore[arg-type]
    return turns


def _content(field: str, value: Any) -> str:
    """A message's content: text, or a list of text parts."""
    if not isinstance(value, list):
        return as_text(field, value)
    parts = []
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise Wrong(field, "has a part that is not text")
        parts.append(as_text(field, part.get("text")))
    return "".join(parts)


def draft_of(field: str, turns: list[Turn], system: str = "") -> PairDraft:
    """Turns as a pair: an optional system message first, the question and its answer last, the rest as history."""
    if turns and turns[0].role == "system":
        system, turns = turns[0].content, turns[1:]
    if not turns or turns[-1].role != "assistant":
        raise Wrong(field, "does not end with an answer of the assistant")
    if len(turns) < 2 or turns[-2].role != "user":
        raise Wrong(field, "has no question of the user before the last answer")
    return PairDraft(question=turns[-2].content, answer=turns[-1].content, system=system, history=tuple(turns[:-2]))


@contextmanager
def written(path: Path, newline: str | None = None) -> Iterator[IO[str]]:
    """A text file that appears at `path` when the block ends well, and not at all otherwise. NoSpace on a full disk."""
    part = path.with_name(path.name + ".part")
    with translated(path, OSError):
        try:
            with part.open("w", encoding="utf-8", newline=newline) as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


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
