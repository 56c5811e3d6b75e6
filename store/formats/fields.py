"""The named fields of a row, which remember what was read of them, so that what was not can be reported.
What a field means is decided by the formats."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

_PYTHON_LIST = re.compile(r"\s*(\[\s*)*[{\[]\s*'")


class Wrong(Exception):
    """A field that cannot be used."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field, self.what = field, what


class Fields:
    """The fields of one row. Names are compared without case and spaces around them, as header lines need it.

    A field that is null, NaN or an empty text, list or object has nothing to lose: it need not be read.
    """

    def __init__(self, value: Mapping[Any, Any]) -> None:
        self._values: dict[str, tuple[str, Any]] = {}
        for name, found in value.items():
            key = str(name).strip().lower()
            self._values[str(name) if key in self._values else key] = (str(name), found)
        self._there = {name for name, (_, found) in self._values.items() if not is_null(found)}
        self._read: set[str] = set()
        self._deeper: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        """Whether the field is there and not null; asking is not reading."""
        return name in self._there

    def peek(self, name: str) -> Any:
        """The value without counting as read; None when it is missing or null."""
        return self._values[name][1] if name in self._there else None

    def get(self, name: str) -> Any:
        """The value, which counts as read; None when it is missing or null."""
        self._read.add(name)
        return self.peek(name)

    def none_of(self, names: Iterable[str]) -> bool:
        """Whether the row has none of these fields: a quick look, before each is asked for."""
        return self._values.keys().isdisjoint(names)

    def first(self, names: Iterable[str]) -> str | None:
        """The first of these names whose field has something in it; else the first whose field is not null."""
        known = self._there
        if known.isdisjoint(names):
            return None
        there = [name for name in names if name in known]
        if len(there) == 1:
            return there[0]
        return next((name for name in there if not is_empty(self._values[name][1])), there[0])

    def text(self, *names: str, default: str | None = None) -> str:
        """The first of these fields that is there, as text.

        `default` stands for a missing or null one; without it that is Wrong.
        """
        name = self.first(names)
        if name is not None:
            return as_text(name, self.get(name))
        if default is None:
            raise Wrong(names[0], "is missing")
        return default

    def filled(self) -> Fields:
        """The fields that have something in them; these themselves when all have."""
        if not any(is_empty(value) for _, value in self._values.values()):
            return self
        return Fields({name: value for name, value in self._values.values() if not is_empty(value)})

    def skip(self, name: str) -> None:
        """Count a part of a field as not read, by a name like messages[].name."""
        self._deeper[name] = None

    def unread(self) -> tuple[str, ...]:
        """The names of the fields that have a value and were not read, in the order of the row."""
        left = [
            name or "(a column without a name)"
            for key, (name, value) in self._values.items()
            if key not in self._read and not is_empty(value)
        ]
        return (*left, *self._deeper)


def is_null(value: Any) -> bool:
    """Whether there is no value: null or NaN."""
    return value is None or (isinstance(value, float) and value != value)


def is_empty(value: Any) -> bool:
    """Whether a value has nothing in it."""
    if isinstance(value, str):  # nearly always: an import asks this ten times a row
        return not value or value.isspace()
    return is_null(value) or value == [] or value == {}


def as_text(field: str, value: Any) -> str:
    """`value` when it is text or a number; Wrong otherwise."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and not is_null(value):
        return str(value)
    raise Wrong(field, f"is {type_name(value)}, not text")


def as_list(value: Any) -> Any:
    """A list or object that a table keeps as text in a cell, written by JSON or by Python; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = _python_literal(value)
    return found if isinstance(found, list | dict) else value


def _python_literal(value: str) -> Any:
    """What pandas writes for a list in a CSV cell; None when the text is no such thing."""
    if not _PYTHON_LIST.match(value):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def type_name(value: Any) -> str:
    """The JSON name of a value's type, with its article."""
    if is_null(value):
        return "null"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if isinstance(value, dict):
        return names[dict]
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")
