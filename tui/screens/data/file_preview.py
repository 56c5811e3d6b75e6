"""Previews a file before it is imported, and completes paths as they are typed.
Reads files only; the import itself is store.importing's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from store.errors import BadInput
from store.formats import FORMATS, Problem, Row, sniff, unfilled
from store.records import PairDraft

SUFFIXES = frozenset(suffix for format in FORMATS.values() for suffix in format.suffixes)
COUNT_BELOW = 30_000_000
"""Bytes; a larger file is looked at, but not read to its end."""
_SHOWN, _LOOK_AT, _LISTED = 3, 2_000, 60


@dataclass(frozen=True, slots=True)
class Peek:
    """What a file holds. `rows` counts to the end if `whole`; `variables` are its placeholders, in their order."""

    path: Path
    format: str
    rows: int
    problems: int
    whole: bool
    variables: tuple[str, ...]
    first: tuple[PairDraft, ...]
    preferences: bool = False


def peek(typed: str, format: str = "auto") -> Peek:
    """Read the start of the file, or all of it. BadInput when it cannot be read or its format is not known."""
    path = expand(typed)
    name = sniff(path) if format == "auto" else format
    whole = path.stat().st_size < COUNT_BELOW
    rows = problems = 0
    variables: dict[str, None] = {}
    first: list[PairDraft] = []
    for found in _some(FORMATS[name].read(path), None if whole else _LOOK_AT):
        rows += 1
        if isinstance(found, Problem):
            problems += 1
        elif isinstance(found.draft, PairDraft):
            draft = found.draft
            texts = [draft.system, *(turn.content for turn in draft.history), draft.question, draft.answer]
            variables.update(dict.fromkeys(unfilled("\n".join(texts))))
            if len(first) < _SHOWN:
                first.append(draft)
    return Peek(path, name, rows, problems, whole, tuple(variables), tuple(first), name == "preference")


def _some(rows: Iterator[Row | Problem], limit: int | None) -> Iterator[Row | Problem]:
    for n, row in enumerate(rows):
        if n == limit:
            return
        yield row


def expand(typed: str) -> Path:
    """What was typed as a path: `~` is the home; quotes and blanks around it, as terminals paste them, go."""
    text = typed.strip().strip("'\"")
    if not text:
        raise BadInput("no file was named", todo="Type the path of a file.")
    return Path(text).expanduser()


def completions(typed: str) -> list[str]:
    """Paths that begin with what was typed: folders and data files first; hidden ones only after a typed dot."""
    text = typed.strip().strip("'\"")
    folder, _, start = text.rpartition("/")
    base = Path(folder + "/" if folder or text.startswith("/") else ".").expanduser()
    found: list[tuple[bool, str]] = []
    try:
        with os.scandir(base) as entries:
            for entry in entries:
                if not entry.name.startswith(start) or (entry.name.startswith(".") and not start.startswith(".")):
                    continue
                is_folder = entry.is_dir()
                useful = is_folder or Path(entry.name).suffix.lower() in SUFFIXES
                prefix = f"{folder}/" if folder or text.startswith("/") else ""
                found.append((not useful, f"{prefix}{entry.name}{'/' if is_folder else ''}"))
    except OSError:
        return []
    return [path for _, path in sorted(found)[:_LISTED] if path != text]
