"""What a data format is, and the registry of those there are. A format is one module here that registers itself:
nothing else has to name it. Knows no format by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from store.errors import Unsupported
from store.formats import verdict
from store.formats.conversation import check_supported, check_texts
from store.formats.fields import Fields, Wrong, type_name
from store.formats.json_rows import RepeatedFields
from store.formats.source import DataFile, Problem, Value
from store.formats.values import sample, values
from store.formats.writing import write_json
from store.records import FeedbackDraft, PairDraft, PreferenceDraft

Draft = PairDraft | PreferenceDraft | FeedbackDraft


@dataclass(frozen=True, slots=True)
class Row:
    """A row that could be read; `line` is where it begins.

    `unread` names the fields that have a value and were not used; `notes` what was changed; `rating` is the field, the
    number and, if the row gives it, the end of the scale of a rated answer.
    """

    line: int
    draft: Draft
    value: Any = None
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rating: tuple[str, float, float | None] | None = None


class DataFormat(ABC):
    """A form of files that rows are read from and written to."""

    name: ClassVar[str]
    """What the user types after --format."""
    suffixes: ClassVar[tuple[str, ...]]
    """The endings of its files, the usual one first."""
    help: ClassVar[str]
    """Its fields, or what its files look like, in a few words."""
    rank: ClassVar[int] = 0
    """Formats of a lower rank are asked first whether a file is theirs: those with the most telling marks."""
    holds: ClassVar[str] = "pair"
    """What its rows are: pair, preference or feedback."""

    @abstractmethod
    def sniff(self, file: DataFile) -> int | None:
        """The number of the first row that shows the file to be in this format, counted from 0; None when none does."""

    @abstractmethod
    def read(self, file: DataFile, *, mixed: bool = False) -> Iterator[Row | Problem]:
        """The rows and problems of a file. `mixed` lets each row be in any format that a row can be recognised by.

        Raises BadInput for what is wrong with the whole file.
        """

    @abstractmethod
    def write(self, path: Path, items: Iterable[Any]) -> int:
        """Write pairs (or what `holds` names) to a file, whole or not at all; returns how many.

        Unsupported for one that the format cannot hold.
        """

    def cannot_hold(self, item: Any) -> str | None:
        """What of this item the format has no place for; None when all of it fits."""
        return None

    def check(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items as they come; Unsupported at one that the format cannot hold."""
        for item in items:
            if what := self.cannot_hold(item):
                todo = "Export as openai, which can hold everything that a pair has."
                raise Unsupported(
                    f"The pair has {what}, which {self.name} cannot hold.", where=f"pair {item.uid}", todo=todo
                )
            yield item


class RecordFormat(DataFormat):
    """A format whose rows are objects with named fields, in whatever way they are stored: JSON, CSV or Parquet."""

    suffixes = (".jsonl", ".json")

    def is_part(self, value: dict[str, Any]) -> bool:
        """Whether an object is one of several that this format joins to a row."""
        return False

    @abstractmethod
    def recognises(self, fields: Fields) -> bool:
        """Whether an object looks like a row of this format.

        Of a text only what shows that it is a list, an object or a mark may count, not what it says: rows of the same
        names with nothing but plain text are read alike (`parsed`).
        """

    @abstractmethod
    def parse(self, fields: Fields) -> tuple[Draft, tuple[str, ...]]:
        """A row as a draft, with notes on what was changed. Wrong names the field that is not as it should be."""

    @abstractmethod
    def dump(self, item: Any) -> dict[str, Any]:
        """A pair (or what `holds` names) as a row."""

    def sniff(self, file: DataFile) -> int | None:
        """The number of the first object with this format's fields."""
        for n, found in enumerate(sample(file)):
            if isinstance(found, Value) and isinstance(found.value, dict) and self.recognises(Fields(found.value)):
                return n
        return None

    def read(self, file: DataFile, *, mixed: bool = False) -> Iterator[Row | Problem]:
        """Every value of the file as a row or a problem."""
        for found in values(file):
            yield found if isinstance(found, Problem) else parsed(found, self, mixed)

    def write(self, path: Path, items: Iterable[Any]) -> int:
        """JSON lines, or a JSON list for another suffix than .jsonl."""
        return write_json(path, (self.dump(item) for item in self.check(items)))


FORMATS: dict[str, DataFormat] = {}
"""The formats that are registered, by name: those of pairs first, each sort by the alphabet."""

_Kind = TypeVar("_Kind", bound=type[DataFormat])


def register(kind: _Kind) -> _Kind:
    """Adds a format to those that import, export, the app and the command line know. A class decorator."""
    found = {**FORMATS, kind.name: kind()}
    FORMATS.clear()
    _ALIKE.clear()
    FORMATS.update(sorted(found.items(), key=lambda entry: (entry[1].holds != "pair", entry[0])))
    return kind


def by_rank() -> list[DataFormat]:
    """The formats in the order in which they are asked whether a file or row is theirs."""
    return sorted(FORMATS.values(), key=lambda format: format.rank)


def record_format(fields: Fields, but: RecordFormat | None = None) -> RecordFormat | None:
    """The first format, other than `but`, that recognises an object by what has something in it, else by all names."""
    filled = fields.filled()
    for each in (filled, fields) if filled is not fields else (fields,):
        for format in _record_formats(tuple(FORMATS.values())):
            if format is not but and format.recognises(each):
                return format
    return None


@lru_cache(maxsize=4)
def _record_formats(formats: tuple[DataFormat, ...]) -> list[RecordFormat]:
    """Those of the formats whose rows are objects, by rank; every row asks for them."""
    return sorted((each for each in formats if isinstance(each, RecordFormat)), key=lambda format: format.rank)


def is_known(value: dict[str, Any]) -> bool:
    """Whether an object is a row of a format that we know, or a part of one."""
    if record_format(Fields(value)) is not None:
        return True
    return any(format.is_part(value) for format in _record_formats(tuple(FORMATS.values())))


_ALIKE: dict[tuple[Any, ...], tuple[str, str, str | None]] = {}
"""The fields that became question, answer and system text, by format, `mixed` and the names of the row's fields."""
_MOST_ALIKE = 1_000


def parsed(found: Value, format: RecordFormat | None, mixed: bool) -> Row | Problem:
    """One value as a row, or what is wrong with it. With `mixed`, a format that recognises it goes before `format`.

    A row of plain texts is read as the last one with the same names was, which takes a tenth of the time.
    """
    line, value = found.line, found.value
    if not isinstance(value, dict):
        return Problem(line, "", f"is {type_name(value)}, not an object with named fields", value)
    if isinstance(value, RepeatedFields):
        return Problem(line, value.names[0], "is there twice, so one of the two values would be lost", value)
    plain = _is_plain(value)
    key = (format, mixed, *value)
    if plain and (names := _ALIKE.get(key)):
        asked, said, system = names
        return Row(line, PairDraft(value[asked], value[said], value[system] if system else ""), value)
    fields = Fields(value)
    if mixed:
        format = record_format(fields) or format
    if format is None:
        shown = ", ".join(str(name) for name in value) or "none"
        return Problem(line, "", f"is not in a known format (its fields: {shown[:200]})", value)
    try:
        check_supported(fields)
        draft, notes = format.parse(fields)
        row = _row(line, value, fields, draft, notes)
    except Wrong as wrong:
        return Problem(line, wrong.field, wrong.what, value)
    if plain and (found_names := _names(row)):
        if len(_ALIKE) >= _MOST_ALIKE:
            _ALIKE.clear()
        _ALIKE[key] = found_names
    return row


def _is_plain(value: dict[str, Any]) -> bool:
    """Whether every field is text in which nothing looks like a list, an object or markup."""
    for text in value.values():
        if type(text) is not str or not text or "<" in text:
            return False
        first = text[0]
        if first in "[{" or first.isspace():
            return False
    return True


def _names(row: Row) -> tuple[str, str, str | None] | None:
    """Which fields of a row are the question, the answer and the system text of its pair as they stand; None when a
    field is anything else, or the pair has anything else."""
    draft = row.draft
    if type(draft) is not PairDraft or row.unread or row.notes or row.rating:
        return None
    if draft != PairDraft(draft.question, draft.answer, draft.system):
        return None
    texts = (draft.question, draft.answer, *([draft.system] if draft.system else []))
    names = [next((name for name, text in row.value.items() if text is wanted), None) for wanted in texts]
    if None in names or len(set(names)) != len(row.value) or len(names) != len(row.value):
        return None
    return names[0], names[1], names[2] if len(names) == 3 else None  # type: ignore[return-value]


def _row(line: int, value: Any, fields: Fields, draft: Draft, notes: tuple[str, ...]) -> Row:
    check_texts("", texts_of(draft))
    rating = None
    if isinstance(draft, PairDraft):
        if thumb := verdict.thumb_of(fields):
            fields.get(thumb[0])
            draft = verdict.judged(draft, thumb[1])
        else:
            rating = verdict.rating_of(fields)
    return Row(line, draft, value, fields.unread(), notes, rating)


def texts_of(draft: Draft) -> list[str]:
    """Every text of a draft."""
    if isinstance(draft, PairDraft):
        return [draft.system, *(turn.content for turn in draft.history), draft.question, draft.answer]
    answers = [draft.chosen, draft.rejected] if isinstance(draft, PreferenceDraft) else [draft.answer]
    return [*(turn.content for turn in draft.prompt), *answers]


def with_texts(draft: Draft, change: Callable[[str], str]) -> Draft:
    """The draft with every text changed."""

    def turns(found: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(replace(turn, content=change(turn.content)) for turn in found)

    if isinstance(draft, PairDraft):
        return replace(
            draft,
            system=change(draft.system),
            history=turns(draft.history),
            question=change(draft.question),
            answer=change(draft.answer),
        )
    if isinstance(draft, PreferenceDraft):
        return replace(draft, prompt=turns(draft.prompt), chosen=change(draft.chosen), rejected=change(draft.rejected))
    return replace(draft, prompt=turns(draft.prompt), answer=change(draft.answer))
