"""Rows whose columns were named by the user: `question=Title+Body,answer=Reply`. Not a registered format: each import
makes its own. Columns inside objects are reached by dots: `reply.text`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from store.errors import BadInput
from store.formats.base import RecordFormat, Row, parsed
from store.formats.conversation import history_of, split_conversation, turns_of
from store.formats.fields import Fields, Wrong, as_list, as_text, is_empty
from store.formats.source import DataFile, Problem, Value
from store.formats.tuningfork import with_marks
from store.formats.values import sample, values
from store.records import PairDraft, PlacedDraft
from store.suggest import close, did_you_mean

TARGETS = ("question", "answer", "system", "history", "messages", "kind", "status", "tags", "split")
"""What a column can be mapped to. `messages` is a whole conversation, instead of question and answer."""

Columns = Mapping[str, Sequence[str]]


def read_mapping(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`question=Title+Body,answer=Reply` (also in several texts) as the columns of each target, joined by lines.

    BadInput for an unknown target, one named twice, or a mapping without question and answer (or messages).
    """
    found: dict[str, tuple[str, ...]] = {}
    for part in (part for text in texts for part in text.split(",")):
        target, equals, columns = part.partition("=")
        target = target.strip().lower()
        names = tuple(name.strip() for name in columns.split("+") if name.strip())
        if not equals or not names:
            raise BadInput(f"{part!r} is not FIELD=COLUMN.", where="--map", todo="Write question=Title,answer=Reply")
        if target not in TARGETS:
            todo = f"{did_you_mean(close(target, TARGETS))} Use some of: {', '.join(TARGETS)}.".strip()
            raise BadInput(f"A pair has no field {target!r}.", where="--map", todo=todo)
        if target in found:
            raise BadInput(f"The field {target} is mapped twice.", where="--map", todo="Join columns as A+B.")
        found[target] = names
    check_mapping(found)
    return found


def check_mapping(mapping: Columns) -> None:
    """BadInput when the mapping makes no pair: it needs a question, or messages alone."""
    if "messages" in mapping:
        if both := [name for name in ("question", "answer", "history") if name in mapping]:
            todo = "Map either messages, or question and answer."
            raise BadInput(f"The mapping has messages and {both[0]}.", where="--map", todo=todo)
    elif "question" not in mapping:
        raise BadInput("The mapping has no question.", where="--map", todo="Write question=COLUMN,answer=COLUMN")


class MappedRows(RecordFormat):
    """Rows read by a mapping."""

    name = "mapped"
    help = "the columns that were named"

    def __init__(self, mapping: Columns) -> None:
        check_mapping(mapping)
        self.mapping = mapping

    def recognises(self, fields: Fields) -> bool:
        """Every row is meant."""
        return True

    def read(self, file: DataFile, *, mixed: bool = False) -> Iterator[Row | Problem]:
        """Every value of the file by the mapping, and by nothing else."""
        for found in values(file):
            yield found if isinstance(found, Problem) else parsed(found, self, False)

    def check_columns(self, file: DataFile) -> None:
        """BadInput when none of the first rows has a column of the mapping: it lists those there are."""
        rows = [each.value for each in sample(file) if isinstance(each, Value) and isinstance(each.value, dict)]
        there = list(dict.fromkeys(name for row in rows for name in columns_of(row)))
        for target, columns in self.mapping.items():
            for column in columns:
                if rows and not any(_value(row, column)[0] for row in rows):
                    names = f"Its columns: {', '.join(there[:20])}{', …' if len(there) > 20 else ''}."
                    todo = f"{did_you_mean(close(column, there))} {names}".strip()
                    what = f"The file has no column {column!r}, to which {target} is mapped."
                    raise BadInput(what, where=str(file.path), todo=todo)

    def parse(self, fields: Fields) -> tuple[PairDraft, tuple[str, ...]]:
        """The pair that the mapped columns make."""
        given = {target: self._given(fields, target) for target in self.mapping}
        notes: tuple[str, ...] = ()
        if "messages" in given:
            turns = turns_of(fields, self.mapping["messages"][0], given["messages"])
            pair, notes = split_conversation(self.mapping["messages"][0], turns, _text("system", given))
        else:
            history = history_of(Fields({"history": given["history"]})) if given.get("history") else ()
            pair = PairDraft(_text("question", given), _text("answer", given), _text("system", given), history)
        status = "ready" if pair.answer.strip() else "draft"
        draft = PlacedDraft(pair.question, pair.answer, pair.system, pair.history, status=status)  # type: ignore[arg-type]
        return with_marks(draft, {name: given.get(name) for name in ("kind", "status", "tags", "split")}), notes

    def _given(self, fields: Fields, target: str) -> Any:
        """What the columns of a target hold: one value, or several texts joined by lines."""
        found = []
        for column in self.mapping[target]:
            name = column.strip().lower()
            if name in fields or "." not in column:
                value = fields.get(name)
            else:
                outer = name.split(".")[0]
                value = _value({outer: as_list(fields.get(outer))}, name)[1]
            if not is_empty(value):
                found.append((column, value))
        if not found:
            return None
        return found[0][1] if len(found) == 1 else "\n".join(as_text(column, value) for column, value in found)

    def dump(self, item: Any) -> dict[str, Any]:
        """Never written: the columns are those of one file that was read."""
        raise NotImplementedError


def columns_of(row: Mapping[str, Any], before: str = "", depth: int = 3) -> Iterator[str]:
    """The names of a row's columns, those inside objects with dots."""
    for name, value in row.items():
        yield f"{before}{name}"
        if isinstance(value, dict) and depth > 1:
            yield from columns_of(value, f"{before}{name}.", depth - 1)


def _value(row: Any, column: str) -> tuple[bool, Any]:
    """Whether a row has a column, and its value; names are compared without case."""
    by_name = {str(name).strip().lower(): value for name, value in row.items()} if isinstance(row, dict) else {}
    name = column.strip().lower()
    if name in by_name:
        return True, by_name[name]
    outer, dot, inner = name.partition(".")
    return _value(as_list(by_name[outer]), inner) if dot and outer in by_name else (False, None)


def _text(target: str, given: Mapping[str, Any]) -> str:
    value = given.get(target)
    if value is None:
        if target == "question":
            raise Wrong(target, "is empty: its column has no value")
        return ""
    return as_text(target, value)
