"""Previews a file before it is imported, and completes paths as they are typed.
Reads files only; the import itself is engine.hf_data.imports'."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from engine.core import sample_files
from engine.hf_data import references
from engine.hf_data.references import DataSetRef
from engine.hf_data.spooling import About, spooled
from store.errors import BadInput
from store.formats import FORMATS, Problem, Row, find_format, open_file, sniff
from store.formats.base import DataFormat, texts_of
from store.formats.content import COMPRESSED_SUFFIXES
from store.formats.mapped import MappedRows, columns_of, read_mapping
from store.formats.placeholders import PlaceholderCount
from store.formats.source import Value
from store.formats.values import sample
from store.importing import expanded
from store.records import FeedbackDraft, PairDraft, PreferenceDraft

COUNT_BELOW = 30_000_000
"""Bytes; a larger file is looked at, but not read to its end."""
_SHOWN, _LOOK_AT, _LISTED, _OPTIONAL = 3, 2_000, 60, 4
_FIRST_ROWS = 200
"""Rows of a data set that are read for its preview."""


@dataclass(frozen=True, slots=True)
class Peek:
    """What a file holds. The counts go to its end if `whole`.

    `fields` are the placeholders that need a value, `optional` those that stay as text without one. `first` are the
    first questions and answers; `unread` counts the rows in which a field would not be read.
    """

    path: Path
    format: str
    whole: bool
    rows: int
    problems: int
    pairs: int
    preferences: int
    feedback: int
    fields: tuple[str, ...]
    optional: tuple[str, ...]
    first: tuple[tuple[str, str], ...]
    unread: dict[str, int]
    problem: Problem | None = None
    about: About | None = None
    """What is known of the data set that these are the first rows of."""

    @property
    def variables(self) -> tuple[str, ...]:
        """The placeholders that a value can be given for."""
        return (*self.fields, *self.optional)


def peek(typed: str, format: str = "auto", columns: str = "") -> Peek:
    """Read the start of the file, or all of it; of a folder or pattern, its first file; of a data set, its first rows.

    `columns` is a mapping as it is typed: question=Title,answer=Body. BadInput when the file cannot be read, its format
    is not known, or the mapping is wrong.
    """
    found = source(typed)
    if isinstance(found, Path):
        return _peek(expanded(found), format, columns)
    with _first_rows(found) as (path, about):
        return replace(_peek([path], format, columns), path=Path(found.short), whole=False, about=about)


@contextmanager
def _first_rows(ref: DataSetRef) -> Iterator[tuple[Path, About]]:
    """A file with the first rows of a data set, while the block runs, and what is known of all of it."""
    with spooled(ref, Path(tempfile.gettempdir()), limit=_FIRST_ROWS) as found:
        yield found.files[0].path, found.about


def source(typed: str) -> Path | DataSetRef:
    """What was typed as a file: the Hugging Face data set that it is or refers to, a sample file, else its path."""
    path, text = expand(typed), _unquoted(typed)
    return references.find(text) or sample_files.find(text) or path


def hub_data_set(typed: str) -> DataSetRef | None:
    """The data set of the hub that was typed, which is looked at by the import alone. BadInput for a wrong name."""
    text = _unquoted(typed)
    found = references.find(text) if references.is_reference(text) else None
    return found if found and found.folder is None else None


def is_looked_at(typed: str) -> bool:
    """Whether there is something to look at: a file, or a folder that is a data set. A folder being typed is not."""
    text = _unquoted(typed)
    return bool(text) and (not text.endswith("/") or references.find(text) is not None)


def _peek(paths: list[Path], format: str, columns: str) -> Peek:
    path = paths[0]
    file = open_file(path)
    found: DataFormat
    if columns.strip():
        file.known = lambda value: True
        found = MappedRows(read_mapping([columns]))
        found.check_columns(file)
    else:
        found = sniff(file) if format == "auto" else find_format(format)
    whole = len(paths) == 1 and path.stat().st_size < COUNT_BELOW
    problems: list[Problem] = []
    sorts: Counter[type] = Counter()
    unread: Counter[str] = Counter()
    placeholders = PlaceholderCount()
    first: list[tuple[str, str]] = []
    for row in _some(found.read(file, mixed=format == "auto" and not columns.strip()), None if whole else _LOOK_AT):
        if isinstance(row, Problem):
            problems.append(row)
            continue
        sorts[PairDraft if isinstance(row.draft, PairDraft) else type(row.draft)] += 1
        unread.update(row.unread)
        placeholders.add(row.line, texts_of(row.draft))
        if len(first) < _SHOWN:
            first.append(_question_and_answer(row))
    fields = placeholders.fields(file.declared)
    return Peek(
        path=path,
        format=found.name,
        whole=whole,
        rows=sorts.total() + len(problems),
        problems=len(problems),
        pairs=sorts[PairDraft],
        preferences=sorts[PreferenceDraft],
        feedback=sorts[FeedbackDraft],
        fields=tuple(fields),
        optional=tuple(name for name in placeholders.in_rows if name not in fields)[:_OPTIONAL],
        first=tuple(first),
        unread=dict(unread.most_common()),
        problem=next(iter(problems), None),
    )


def columns(typed: str) -> list[str]:
    """The columns of the first rows of a file, for a mapping. BadInput when it cannot be read."""
    found = source(typed)
    if isinstance(found, Path):
        return _columns(expanded(found)[0])
    with _first_rows(found) as (path, _):
        return _columns(path)


def _columns(path: Path) -> list[str]:
    file = open_file(path)
    file.known = lambda value: True
    rows = [each.value for each in sample(file) if isinstance(each, Value) and isinstance(each.value, dict)]
    return list(dict.fromkeys(name for row in rows for name in columns_of(row)))


def _question_and_answer(row: Row) -> tuple[str, str]:
    draft = row.draft
    if isinstance(draft, PairDraft):
        return draft.question, draft.answer
    return draft.prompt[-1].content if draft.prompt else "", (
        draft.chosen if isinstance(draft, PreferenceDraft) else draft.answer
    )


def data_name(path: Path) -> str:
    """The name of a data file without its endings: `chats` for `chats.jsonl.gz`."""
    while path.suffix.lower() in COMPRESSED_SUFFIXES | _suffixes():
        path = path.with_suffix("")
    return path.name


def _suffixes() -> frozenset[str]:
    return frozenset(suffix for format in FORMATS.values() for suffix in format.suffixes)


def _some(rows: Iterator[Row | Problem], limit: int | None) -> Iterator[Row | Problem]:
    for n, row in enumerate(rows):
        if n == limit:
            return
        yield row


def expand(typed: str) -> Path:
    """What was typed as a path: `~` is the home; quotes and spaces around it, as terminals paste them, go."""
    text = _unquoted(typed)
    if not text:
        raise BadInput("No file was named.", todo="Type the path of a file.")
    return Path(text).expanduser()


def _unquoted(typed: str) -> str:
    return typed.strip().strip("'\"")


def completions(typed: str) -> list[str]:
    """Paths that begin with what was typed: folders and data files first; hidden ones only after a typed dot."""
    text = _unquoted(typed)
    if text.startswith(sample_files.PREFIX):
        names = [sample_files.PREFIX + name for name in sample_files.names()]
        return [name for name in names if name.startswith(text) and name != text][:_LISTED]
    folder, _, start = text.rpartition("/")
    base = Path(folder + "/" if folder or text.startswith("/") else ".").expanduser()
    found: list[tuple[bool, str]] = []
    try:
        with os.scandir(base) as entries:
            for entry in entries:
                if not entry.name.startswith(start) or (entry.name.startswith(".") and not start.startswith(".")):
                    continue
                is_folder = entry.is_dir()
                useful = is_folder or data_name(Path(entry.name)) != entry.name
                prefix = f"{folder}/" if folder or text.startswith("/") else ""
                found.append((not useful, f"{prefix}{entry.name}{'/' if is_folder else ''}"))
    except OSError:
        return []
    return [path for _, path in sorted(found)[:_LISTED] if path != text]
