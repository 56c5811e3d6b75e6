"""Reads a table of facts from a CSV, TSV, JSON or YAML file: what is known of one subject or several.
What becomes of the facts is curate/wizard/facts.py's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store.curate import language
from store.curate.wizard.facts import Fact
from store.errors import BadInput
from store.formats.source import DataFile

_ATTRIBUTES = (
    "attribute", "fact", "key", "property", "field", "question", "属性", "事实", "项目", "字段", "问题", "参数", "名称",
    "name",
)  # fmt: skip
_VALUES = ("value", "answer", "content", "值", "内容", "答案", "数值", "取值")
_SUBJECTS = ("subject", "product", "item", "entity", "主体", "对象", "产品", "商品", "名称", "name")
_DELIMITERS = ",;\t|"
_NAMED = 5


@dataclass(frozen=True, slots=True)
class FactTable:
    """The facts of a file; `empty` counts the rows and fields without a value, `twice` those that came again."""

    facts: list[Fact]
    empty: int = 0
    twice: int = 0
    notices: list[str] = field(default_factory=list)


class _Object(list[tuple[str, Any]]):
    """A JSON or YAML object with its keys as they come, also those that come twice."""


def read_facts(path: Path, subject: str = "") -> FactTable:
    """The facts of a file. `subject` is that of the rows that name none.

    A table has the columns attribute and value, and perhaps subject; or one row for each subject, which the first
    column names, and one column for each attribute. JSON and YAML are such rows, or `attribute: value`, or both below
    `subject:`. BadInput when the file holds no facts, or two values for the same attribute.
    """
    file = DataFile(path)
    text = file.text()
    if file.suffix == ".json":
        found = list(_of_value(_json(path, text), subject, path))
        notices: list[str] = []
    elif file.suffix in (".yaml", ".yml"):
        found = list(_of_value(_yaml(path, text), subject, path))
        notices = []
    else:
        found, notices = _of_table(path, text, "\t" if file.suffix == ".tsv" else "", subject)
    return _checked(path, found, notices)


def _checked(path: Path, found: Sequence[Fact], notices: list[str]) -> FactTable:
    """The facts that have a value, each once."""
    full = [fact for fact in found if fact.attribute and fact.value]
    kept: dict[tuple[str, str], Fact] = {}
    for fact in full:
        before = kept.setdefault((fact.subject, fact.attribute.casefold()), fact)
        if before.value != fact.value:
            of = f" of {fact.subject}" if fact.subject else ""
            what = f"{fact.attribute}{of} has two values: {before.value[:40]!r} and {fact.value[:40]!r}."
            raise BadInput(f"The fact {what}", where=str(path), todo="Keep one, or write both in one value.")
    if not kept:
        raise BadInput("The file holds no facts.", where=str(path), todo="Write one `attribute,value` on each line.")
    return FactTable(list(kept.values()), len(found) - len(full), len(full) - len(kept), notices)


# -- CSV and TSV -------------------------------------------------------------------------------------------------------


def _of_table(path: Path, text: str, delimiter: str, subject: str) -> tuple[list[Fact], list[str]]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if any(row)]
    except csv.Error as error:
        raise BadInput(f"The file is not valid CSV: {error}.", where=str(path), todo="Correct it.") from None
    if not rows:
        return [], []
    rows = [[cell.strip() for cell in row] for row in rows]
    wide = len(rows[0])
    for n, row in enumerate(rows, 1):
        if len(row) != wide:
            what = f"Row {n} has {len(row)} fields, the first has {wide}."
            raise BadInput(what, where=str(path), todo="Put quotes around a value that holds the delimiter.")
    header = [name.casefold() for name in rows[0]]
    if any(name in _VALUES for name in header) or (header[0] in _SUBJECTS and wide > 1):
        objects = [_Object(zip(rows[0], row, strict=True)) for row in rows[1:]]
        notices = []
    elif wide == 2:
        objects = [_Object([("attribute", one), ("value", other)]) for one, other in rows]
        notices = ["No column is called value, so the first line is a fact like the others."]
    else:
        raise BadInput(
            f"The file has the columns {', '.join(rows[0][:8])}, of which none is called value.",
            where=str(path),
            todo="Name two of them attribute and value, or the first one subject.",
        )
    return [fact for row in objects for fact in _of_row(row, subject, path)], notices


# -- JSON and YAML -----------------------------------------------------------------------------------------------------


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_Object, parse_float=str, parse_int=str)
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}"
        raise BadInput(f"The file is not valid JSON: {error.msg}.", where=where, todo="Correct that line.") from None
    except RecursionError:
        raise BadInput("The file is nested too deeply.", where=str(path), todo="Write it as a list.") from None


def _yaml(path: Path, text: str) -> Any:
    import yaml

    def plain(node: yaml.Node | None, depth: int = 0) -> Any:
        if depth > 10:
            raise BadInput("The file is nested too deeply for a table.", where=str(path), todo="Write it as a list.")
        if isinstance(node, yaml.MappingNode):
            return _Object((plain(key, depth + 1), plain(value, depth + 1)) for key, value in node.value)
        if isinstance(node, yaml.SequenceNode):
            return [plain(each, depth + 1) for each in node.value]
        return node.value if isinstance(node, yaml.ScalarNode) and not str(node.tag).endswith(":null") else None

    try:
        return plain(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise BadInput(f"The file is not valid YAML: {problem}.", where=where, todo="Correct that line.") from None


def _of_value(value: Any, subject: str, path: Path) -> Iterator[Fact]:
    """The facts of a whole file, or of what stands below a subject."""
    if isinstance(value, _Object):
        for key, below in value:
            several = isinstance(below, list) and any(isinstance(each, _Object | list) for each in below)
            if several or isinstance(below, _Object):
                yield from _of_value(below, str(key), path)
            else:
                yield Fact(str(key).strip(), _text(below), subject)
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, _Object):
                yield from _of_row(each, subject, path)
            elif isinstance(each, list) and len(each) == 2:
                yield Fact(_text(each[0]), _text(each[1]), subject)
            else:
                raise _no_fact(path, each)
    elif value is not None:
        raise _no_fact(path, value)


def _no_fact(path: Path, value: Any) -> BadInput:
    what = f"{_text(value)[:60]!r} is not a fact: it needs an attribute and a value."
    return BadInput(f"The entry {what}", where=str(path), todo="Write it as attribute: value.")


def _of_row(row: _Object, subject: str, path: Path) -> Iterator[Fact]:
    """The facts of one row: one with an attribute and a value, or one for each column beside that of the subject."""
    named = {str(key).strip().casefold(): value for key, value in row}
    value_key = next((name for name in _VALUES if name in named), None)
    attribute_key = next((name for name in _ATTRIBUTES if name in named), None)
    subject_key = next((name for name in _SUBJECTS if name in named and name != (value_key and attribute_key)), None)
    own = _text(named[subject_key]).strip() if subject_key else ""
    if value_key and attribute_key:
        yield Fact(_text(named[attribute_key]).strip(), _text(named[value_key]).strip(), own or subject)
        return
    if value_key and len(named) > 1 and not subject_key:
        other = next(name for name in named if name != value_key)
        yield Fact(_text(named[other]).strip(), _text(named[value_key]).strip(), subject)
        return
    for key, value in row:
        if str(key).strip().casefold() != subject_key:
            if isinstance(value, _Object):
                raise _no_fact(path, key)
            yield Fact(str(key).strip(), _text(value).strip(), own or subject)


def _text(value: Any) -> str:
    """A value as text: several are joined."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not isinstance(value, _Object):
        texts = [_text(each) for each in value]
        return ("、" if language.scripts("".join(texts))["han"] else ", ").join(texts)
    return "" if value is None else str(value)
