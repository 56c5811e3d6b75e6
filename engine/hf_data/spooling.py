"""Rows of a Hugging Face data set as files for an import: written by a process of its own, gone when the block ends.
Nothing here writes to the store or imports the library datasets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.core import process
from engine.core.child import Child
from engine.core.scratch import scratch
from engine.hf_data.references import DataSetRef, check_named, is_saved, our_split
from store.db import translated
from store.errors import BadInput, TuningforkError
from store.records import Split

SCRATCH = "data-set-"
"""What the name of a folder with such files begins with."""


@dataclass(frozen=True, slots=True)
class About:
    """What a data set is, before its first row is read. None, and rows of None, is not known."""

    ref: DataSetRef
    splits: dict[str, int | None]
    files: int
    bytes: int | None
    revision: str | None
    host: str | None = None
    """Where it is fetched from; None for a folder."""

    @property
    def total(self) -> int | None:
        """The rows of all splits."""
        known = [rows for rows in self.splits.values() if rows is not None]
        return sum(known) if known and len(known) == len(self.splits) else None


@dataclass(frozen=True, slots=True)
class SplitFile:
    """The rows of one split, and the split of ours that they go to."""

    name: str
    path: Path
    rows: int
    split: Split


@dataclass(slots=True)
class Spooled:
    """A data set whose rows are on this machine as JSON lines, while the block that made it runs."""

    about: About
    files: list[SplitFile] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """Sentences on what was decided while it was read."""


@contextmanager
def spooled(
    ref: DataSetRef,
    place: Path,
    *,
    splits: Mapping[str, Split] | None = None,
    limit: int | None = None,
    on_about: Callable[[About], None] | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> Iterator[Spooled]:
    """The rows of a data set in files below `place`, for as long as the block runs; an interrupt leaves nothing.

    `splits` says which splits are read and what they become; without it all are, by their names. With a `limit` so
    many rows of one split are read: a preview. `on_about` is called before anything is fetched but the list of files,
    `on_rows` twice a second with the rows so far; both may raise, which stops the reading.

    NotFound for an unknown data set, BadInput or Unsupported for one that cannot be read (with images, with several
    configs of which none is named), ServerError when the hub cannot be reached, UserError when it is switched off.
    Errors of the block that name one of its files name the data set instead.
    """
    with translated(place, OSError), scratch(place, SCRATCH) as folder:
        found = _read(ref, folder, splits, limit, on_about, on_rows)
        try:
            yield found
        except TuningforkError as error:
            error.where = error.where and error.where.replace(f"{folder}/", f"{ref}: ")
            raise


def _read(
    ref: DataSetRef,
    into: Path,
    splits: Mapping[str, Split] | None,
    limit: int | None,
    on_about: Callable[[About], None] | None,
    on_rows: Callable[[int], None] | None,
) -> Spooled:
    request = {
        "ref": str(ref),
        "short": ref.short,
        "name": ref.name,
        "folder": str(ref.folder.resolve()) if ref.folder else None,
        "saved": ref.folder is not None and is_saved(ref.folder),
        "revision": ref.revision,
        "config": ref.config,
        "into": str(into),
        "splits": None if splits is None else list(splits),
        "limit": limit,
    }
    argv = process.module_command("engine.hf_data.reader", json.dumps(request))
    found: Spooled | None = None
    # a folder needs no network, so its README can name nothing that would be fetched
    with Child(
        argv, f"Reading {ref}", env=process.environment(offline=ref.folder is not None), cwd=into, asks=True
    ) as work:
        for message in work.messages():
            if "about" in message:
                found = Spooled(About(ref, **message["about"]))
                check_named(splits or {}, list(found.about.splits), ref)
                if on_about:
                    on_about(found.about)
                work.go_on()
            elif found is not None and "split" in message:
                ours = splits[message["split"]] if splits else our_split(message["split"])[0]
                found.files.append(SplitFile(message["split"], Path(message["file"]), message["rows"], ours))
            elif found is not None and "note" in message:
                found.notices.append(f"{ref}, column {message['note']}.")
            elif on_rows and "rows" in message:
                on_rows(message["rows"])
    if found is None or not any(each.rows for each in found.files):
        raise BadInput("The data set holds no rows.", where=str(ref), todo="Check that the right one was named.")
    found.files = [each for each in found.files if each.rows]
    return found


def went_to(found: Spooled, into: str | None, asked: Mapping[str, Split] | None = None) -> list[str]:
    """Which split of a data set became which, in sentences: all of them `into` the split or column of the import, those
    that were `asked` for, or each by its name."""
    ref, about = found.about.ref, found.about
    parts = [
        (f"{each.name} ({each.rows:,} {'row' if each.rows == 1 else 'rows'})", into or each.split)
        for each in found.files
    ]
    (name, first), *others = parts
    lines = [f"{ref}: {name} went to {first}{''.join(f', {name} to {split}' for name, split in others)}."]
    read = {each.name for each in found.files}
    if guessed := [] if into or asked else [each.name for each in found.files if not our_split(each.name)[1]]:
        example = ",".join(f"{each.name}={'val' if each.name in guessed else each.split}" for each in found.files)
        lines.append(
            f"{ref}: the name {', '.join(guessed)} means no split, so train was taken; to choose: --split {example}."
        )
    if left := [name for name in about.splits if name not in read]:
        lines.append(f"{ref}: not read or empty: {', '.join(left)}.")
    if about.revision:
        lines.append(f"{ref}: read at revision {about.revision}.")
    return lines
