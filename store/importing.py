"""Files into the store and out of it: formats, placeholders, the report of what was refused.
One transaction for all files of an import, and one edit: it can be undone as a whole; nothing is half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from store import datasets, pairs, votes
from store.canon import new_uid
from store.db import Store, translated
from store.edits import recording
from store.errors import BadInput, Conflict
from store.formats import FORMATS, Format, Problem, Row, fill, preference, sniff, unfilled
from store.formats.source import check_file, read_bytes
from store.records import Kind, PairDraft, PreferenceDraft, Split

_SHOWN = 20
_PROGRESS_EVERY = 500


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not taken: where it stands and why."""

    file: str
    line: int
    field: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field + ': ' if self.field else ''}{self.what}"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    `kept` rows are new, `duplicates` were known (they join the dataset); `report` lists the rejected ones.
    """

    read: int
    kept: int
    rejected: int
    duplicates: int
    report: str | None
    dataset: str | None
    problems: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    format: Format
    kind: Kind
    variables: Mapping[str, str]


def import_files(
    store: Store,
    paths: Sequence[Path | str],
    *,
    dataset: str | None,
    format: str = "auto",
    variables: Mapping[str, str] | None = None,
    actor: str = "user",
    kind: Kind | None = None,
    split: Split = "train",
    on_progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Imports files into a dataset (made when missing). Bad rows are reported and cost no good row.

    A file that uses placeholders holds identity pairs, unless `kind` says otherwise. `on_progress` gets the rows read.
    Raises BadInput, with nothing written, when a file cannot be read, a placeholder has no value (it is named), or no
    row at all can be used.
    """
    if not paths:
        raise BadInput("no file was named", todo="Name at least one file.")
    sources = [_source(Path(path), format, variables or {}, kind) for path in paths]
    counter = _Counter(store.home.logs / f"import-{new_uid()}.jsonl", on_progress)
    label = f"import {', '.join(source.path.name for source in sources)}"
    with counter, recording(store, label, actor):
        taken = [source for source in sources if source.format.name != "preference"]
        drafts = (row for source in taken for row in counter.rows(source) if isinstance(row, PairDraft))
        made = pairs.create_many(store, drafts, dataset=dataset, split=split, label=label, actor=actor, checked=True)
        kept, known = votes.import_preferences(store, counter.preferences(sources), dataset=dataset)
        if not counter.good:
            raise counter.hopeless(sources)
    return ImportReport(
        read=counter.read,
        kept=len(made.uids) + kept,
        rejected=counter.bad,
        duplicates=made.duplicates + known,
        report=store.home.relative(counter.report) if counter.bad else None,
        dataset=dataset,
        problems=counter.problems,
    )


def _source(path: Path, format: str, variables: Mapping[str, str], kind: Kind | None) -> _Source:
    check_file(path)
    name = sniff(path) if format == "auto" else format
    if name not in FORMATS:
        raise BadInput(f"{name!r} is no format", where="format", todo=f"Use one of: auto, {', '.join(FORMATS)}.")
    names = _placeholders(path, FORMATS[name])
    missing = [name for name in names if name not in variables]
    if missing:
        raise _unfilled(path, names[missing[0]], missing)
    return _Source(path, FORMATS[name], kind or ("identity" if names else "instruction"), variables)


def _placeholders(path: Path, format: Format) -> dict[str, int]:
    """The placeholders of a file and the line where each stands first.

    Most files have no brace pair at all: then no row is parsed.
    """
    if format.name != "parquet":
        data = read_bytes(path)
        if b"{{" not in data and rb"\u007b" not in data.lower():
            return {}
    found: dict[str, int] = {}
    for row in format.read(path):
        if isinstance(row, Row) and isinstance(row.draft, PairDraft):
            for name in unfilled("\n".join(_texts(row.draft))):
                found.setdefault(name, row.line)
    return found


def _texts(draft: PairDraft) -> list[str]:
    return [draft.system, *(turn.content for turn in draft.history), draft.question, draft.answer]


def _unfilled(path: Path, line: int, names: list[str]) -> BadInput:
    shown = ", ".join("{{" + name + "}}" for name in names)
    what = f"the placeholder {shown} has no value" if len(names) == 1 else f"the placeholders {shown} have no values"
    values = " ".join(f"--set {name}=VALUE" for name in names)
    keep = f"--set '{names[0]}={{{{{names[0]}}}}}'"
    return BadInput(what, where=f"{path}:{line}", todo=f"Add {values} (or keep it as it stands: {keep}).")


def _filled(draft: PairDraft, source: _Source) -> PairDraft:
    if not source.variables or "{{" not in "".join(_texts(draft)):
        return replace(draft, kind=source.kind) if source.kind != draft.kind else draft
    return replace(
        draft,
        kind=source.kind,
        question=fill(draft.question, source.variables),
        answer=fill(draft.answer, source.variables),
        system=fill(draft.system, source.variables),
        history=tuple(replace(turn, content=fill(turn.content, source.variables)) for turn in draft.history),
    )


class _Counter:
    """Counts rows as they stream by, and writes the rejected ones to a report that stays only if the import does."""

    def __init__(self, report: Path, on_progress: Callable[[int], None] | None) -> None:
        self.report, self.on_progress = report, on_progress
        self.read = self.good = self.bad = 0
        self.problems: list[Rejected] = []
        self._file: TextIO | None = None
        self._stack = ExitStack()

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is not None and self._file is not None:
            self.report.unlink(missing_ok=True)

    def rows(self, source: _Source) -> Iterator[PairDraft | PreferenceDraft]:
        """The good drafts of a file, filled and checked."""
        for row in source.format.read(source.path):
            self.read += 1
            if self.on_progress and self.read % _PROGRESS_EVERY == 0:
                self.on_progress(self.read)
            if isinstance(row, Problem):
                self._reject(source, row)
                continue
            origin = {"file": source.path.name, "line": row.line}
            try:
                if isinstance(row.draft, PairDraft):
                    draft: Any = pairs.check_draft(replace(_filled(row.draft, source), source=origin))
                else:
                    draft = votes.check_draft(replace(row.draft, source=origin))
            except BadInput as error:
                self._reject(source, Problem(row.line, error.where or "", error.what, row.value))
                continue
            self.good += 1
            yield draft

    def preferences(self, sources: list[_Source]) -> Iterator[PreferenceDraft]:
        """The good preferences of all files."""
        for source in sources:
            if source.format.name == "preference":
                yield from (row for row in self.rows(source) if isinstance(row, PreferenceDraft))

    def hopeless(self, sources: list[_Source]) -> BadInput:
        """What to say when no row can be used."""
        if not self.problems:
            return BadInput(
                "the file holds no rows", where=str(sources[0].path), todo="Check that the right file was saved."
            )
        first = self.problems[0]
        path = next(source.path for source in sources if source.path.name == first.file)
        where = f"{path}:{first.line}"
        what = f"{first.field}: {first.what}" if first.field else first.what
        count = "the only row cannot" if self.read == 1 else f"none of the {self.read} rows can"
        return BadInput(f"{count} be used ({what})", where=where, todo="Correct the file, or name its --format.")

    def _reject(self, source: _Source, problem: Problem) -> None:
        self.bad += 1
        entry = Rejected(source.path.name, problem.line, problem.field, problem.what)
        if len(self.problems) < _SHOWN:
            self.problems.append(entry)
        with translated(self.report, OSError):
            if self._file is None:
                handle = os.open(self.report, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                self._file = self._stack.enter_context(os.fdopen(handle, "w", encoding="utf-8"))
            line = {
                "file": entry.file,
                "line": entry.line,
                "field": entry.field,
                "what": entry.what,
                "row": problem.row,
            }
            self._file.write(json.dumps(line, default=str) + "\n")


def export_dataset(store: Store, name: str, format: str, path: Path | str, overwrite: bool = False) -> int:
    """Writes a dataset's ready pairs (its imported preferences, for that format) to a file; returns how many.

    Conflict when the file is there and `overwrite` is not set; Unsupported when the format cannot hold a pair.
    """
    path = _free(path, overwrite)
    if format not in FORMATS:
        raise BadInput(f"{format!r} is no format", where="format", todo=f"Use one of: {', '.join(FORMATS)}.")
    datasets.get_id(store, name)
    if format == "preference":
        return FORMATS[format].write(path, votes.preferences(store, name))
    return FORMATS[format].write(path, [pair for pair, _ in datasets.members(store, name)])


def export_preferences(store: Store, path: Path | str, *, form: str = "trl", overwrite: bool = False) -> int:
    """Writes every preference, from votes and imports, in TRL's or ShareGPT's form; returns how many."""
    writers = {"trl": FORMATS["preference"].write, "sharegpt": preference.write_sharegpt}
    if form not in writers:
        raise BadInput(f"{form!r} is no form of preferences", where="form", todo="Use trl or sharegpt.")
    return writers[form](_free(path, overwrite), votes.preferences(store))


def _free(path: Path | str, overwrite: bool) -> Path:
    path = Path(path)
    if path.exists() and not overwrite:
        raise Conflict("the file is there already", where=str(path), todo="Choose another name, or say --overwrite.")
    return path
