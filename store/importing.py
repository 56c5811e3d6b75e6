"""Files into the store and out of it: placeholders, judgements, and the report of what became of every row and field.
One transaction for all files of an import, and one edit: it can be undone as a whole; nothing is half-written."""

from __future__ import annotations

import difflib
import glob
import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO, cast

from store import datasets, feedback, pairs, query, votes
from store.ahead import ahead
from store.canon import new_uid
from store.db import Store, translated
from store.edits import recording
from store.errors import BadInput, Conflict, Unsupported
from store.files import target_of
from store.formats import DataFile, Problem, Row, content, fill, find_format, open_file, preference, read
from store.formats.base import DataFormat, Draft, texts_of, with_texts
from store.formats.fields import Fields, Wrong, is_empty
from store.formats.mapped import Columns, MappedRows
from store.formats.placeholders import CONVENTIONAL, PlaceholderCount
from store.formats.source import Value
from store.formats.tuningfork import OwnRows, split_named
from store.formats.values import sample
from store.formats.verdict import RATINGS, RatingScale, is_low, judged
from store.pairs import PreparedPair
from store.records import SPLITS, FeedbackDraft, Kind, PairDraft, PlacedDraft, PreferenceDraft, Split, Status

_SHOWN = 20
_PROGRESS_EVERY = 500
_BATCH = 2_000
_CHUNK = 2_000
_CHUNK_CHARS = 2_000_000
"""So many rows, or characters, are read in another thread while those before are written."""
_NAMED = 6


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
    """What an import did. Every row that was read is `kept` (new), one of `duplicates`, or `rejected`.

    `kept` is the sum of `pairs`, `preferences` and `feedback`; known pairs join the dataset. `report` is the file that
    lists the rejected rows. `not_read` counts for each field that was not used the other rows in which it has a
    value. `notices` are sentences on all that was decided, changed or left out. `elsewhere` counts the known pairs
    that stay in another split of the dataset than the one that was asked for.
    """

    read: int
    kept: int
    rejected: int
    duplicates: int
    report: str | None
    dataset: str | None
    problems: list[Rejected] = field(default_factory=list)
    pairs: int = 0
    preferences: int = 0
    feedback: int = 0
    not_read: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    elsewhere: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """One file of an import, looked at before the first row is written."""

    file: DataFile
    format: DataFormat | None
    """None: each row by its fields."""
    kind: Kind
    kind_given: bool
    """Whether the kind is that of the file's placeholders or was named: then it counts more than that of a row."""
    variables: Mapping[str, str]
    """The values of the placeholders that are fields of this file."""
    scale: tuple[float, float] | None
    """The ends of the scale of its ratings."""


def import_files(
    store: Store,
    paths: Sequence[Path | str],
    *,
    dataset: str | None,
    format: str = "auto",
    variables: Mapping[str, str] | None = None,
    actor: str = "user",
    kind: Kind | None = None,
    split: str = "train",
    mapping: Columns | None = None,
    tags: Sequence[str] = (),
    as_draft: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Imports files into a dataset (made when missing). Bad rows are reported and cost no good row.

    A path may be a folder, whose data files are imported, or a pattern such as `data/*.jsonl`. `mapping` names the
    columns of each field (formats.mapped); `split` is train, val or test, or the name of the column that says it;
    `tags` are added to every pair, and with `as_draft` every pair is a draft.

    Rows become pairs, preferences or feedback, each as its fields show. A file of identity data (it uses {{name}} or
    {{author}}) holds identity pairs, unless `kind` is given. `on_progress` gets the rows read.
    Raises BadInput, with nothing written, when a file cannot be read, a placeholder that the file declares has no value
    (it is named), or no row at all can be used.
    """
    if not paths:
        raise BadInput("No file was named.", todo="Name at least one file.")
    notices: list[str] = []
    for tag in tags:
        pairs.check_text("tags", tag)
    if mapping and format != "auto":
        raise BadInput("A format and a mapping were given.", where="--map", todo="Leave out one of them.")
    format_ = MappedRows(mapping) if mapping else None if format == "auto" else find_format(format)
    column = None if split in SPLITS else split
    rows = _RowOptions(column, tuple(tags), as_draft)
    files = [found for path in paths for found in expanded(path)]
    notices += [notice for path in paths if (notice := _left_out(Path(path), files))]
    sources = [_source(path, format_, variables or {}, kind, notices) for path in files]
    if column:
        for source in sources:
            _check_column(source.file, column)
    in_split = cast(Split, "train" if column else split)
    notices += _unused(sources, variables or {})
    counter = _Counter(store, dataset, in_split, rows, store.home.logs / f"import-{new_uid()}.jsonl", on_progress)
    label = f"import {', '.join(source.file.path.name for source in sources)}"
    with counter, closing(counter.pairs(sources)) as found, recording(store, label, actor):
        made = pairs.create_many(
            store, found, dataset=dataset, split=in_split, label=label, actor=actor, want_uids=False
        )
        if not counter.good:
            raise counter.nothing_usable(sources)
    return ImportReport(
        read=counter.read,
        kept=made.made + counter.preferences + counter.feedback,
        rejected=counter.bad,
        duplicates=made.duplicates + counter.known,
        report=store.home.relative(counter.report) if counter.bad else None,
        dataset=dataset,
        problems=counter.problems,
        pairs=made.made,
        preferences=counter.preferences,
        feedback=counter.feedback,
        not_read=dict(counter.not_read.most_common()),
        notices=[*notices, *counter.notices(), *_elsewhere(made.elsewhere, dataset, split), *_beside(sources)],
        elsewhere=made.elsewhere,
    )


# -- what a file is, before anything is written ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _RowOptions:
    """What is done to every pair: its split from a column, tags, draft."""

    split_column: str | None
    tags: tuple[str, ...]
    as_draft: bool


def expanded(path: Path | str) -> list[Path]:
    """The files that a path means: itself, the data files below a folder, or those that a pattern finds.

    BadInput when a folder or pattern has none.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.is_file() and content.is_data_name(each))
        if found:
            return found
        content.check_path(path)
    if not path.exists() and glob.has_magic(str(path)):
        # Path.glob takes no pattern that begins at the root
        found = sorted(Path(each) for each in glob.iglob(str(path), recursive=True) if Path(each).is_file())  # noqa: PTH207
        if not found:
            raise BadInput("The pattern finds no file.", where=str(path), todo="Check it with: ls")
        return found
    return [path]


def _left_out(path: Path, taken: Sequence[Path]) -> str | None:
    """The notice on the other files of a folder, which are no data by their names; None where there are none."""
    if not path.is_dir():
        return None
    known = {*taken}
    other = sorted(each.name for each in path.rglob("[!.]*") if each.is_file() and each not in known)
    more = f" and {len(other) - _NAMED:,} more" if len(other) > _NAMED else ""
    return f"Not read in the folder {path.name}: {', '.join(other[:_NAMED])}{more}." if other else None


def _check_column(file: DataFile, column: str) -> None:
    rows = [each.value for each in sample(file) if isinstance(each, Value) and isinstance(each.value, dict)]
    names = list(dict.fromkeys(str(name).strip() for row in rows for name in row))
    if rows and column.strip().lower() not in [name.lower() for name in names]:
        what = f"{column!r} is neither a split nor a column of the file."
        todo = f"Use {', '.join(SPLITS)}, or one of its columns: {', '.join(names[:20])}."
        raise BadInput(what, where=str(file.path), todo=todo)


def _source(
    path: Path, format: DataFormat | None, variables: Mapping[str, str], kind: Kind | None, notices: list[str]
) -> _Source:
    file = open_file(path)
    if isinstance(format, MappedRows):
        file.known = lambda value: True
        format.check_columns(file)
    count, scale = _look_through(file, format)
    fields = count.fields(file.declared)
    if missing := [name for name in fields if name not in variables]:
        raise _unfilled(file.path, count.lines[missing[0]], missing, variables)
    filled = {name: value for name, value in variables.items() if name in count.in_rows}
    kept = {name: rows for name, rows in count.in_rows.items() if name not in filled}
    if kept:
        notices.append(_kept_as_text(path, kept))
    identity = any(name in CONVENTIONAL and name in filled for name in fields)
    named: Kind = kind or ("identity" if identity else "instruction")
    return _Source(file, format, named, kind is not None or identity, filled, scale.bounds())


def _read(file: DataFile, format: DataFormat | None) -> Iterator[Row | Problem]:
    return read(file) if format is None else format.read(file)


def _look_through(file: DataFile, format: DataFormat | None) -> tuple[PlaceholderCount, RatingScale]:
    """The placeholders of a file and the scale of its ratings.

    Most text files have neither brace pairs nor ratings: then no row is parsed here.
    """
    count, scale = PlaceholderCount(), RatingScale()
    ratings = [name.encode() for name in RATINGS]
    if not file.head.startswith(b"PAR1") and not file.contains(b"{{", rb"\u007b", *ratings):
        return count, scale
    for row in _read(file, format):
        if isinstance(row, Row):
            count.add(row.line, texts_of(row.draft))
            if row.rating and row.rating[2] is None:
                scale.add(row.rating[1])
    return count, scale


def _unfilled(path: Path, line: int, names: list[str], variables: Mapping[str, str]) -> BadInput:
    shown = ", ".join("{{" + name + "}}" for name in names)
    what = f"The placeholder {shown} has no value." if len(names) == 1 else f"The placeholders {shown} have no values."
    values = " ".join(f"--set {name}=VALUE" for name in names)
    keep = f"--set '{names[0]}={{{{{names[0]}}}}}'"
    near = difflib.get_close_matches(names[0], variables, 1)
    typo = f" You gave {near[0]}, which is another name." if near else ""
    return BadInput(what, where=f"{path}:{line}", todo=f"Add {values} (or keep it as it stands: {keep}).{typo}")


def _kept_as_text(path: Path, names: Mapping[str, int]) -> str:
    shown = ", ".join("{{" + name + "}} (" + _rows(rows) + ")" for name, rows in list(names.items())[:_NAMED])
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    first = next(iter(names))
    stay = "stays" if len(names) == 1 else "stay"
    return f"{path.name}: {shown}{more} {stay} as text. To fill one, set its value (--set {first}=VALUE)."


def _unused(sources: Sequence[_Source], variables: Mapping[str, str]) -> list[str]:
    return [unused(name) for name in variables if not any(name in source.variables for source in sources)]


def unused(name: str) -> str:
    """The notice on a value that was set for a placeholder that no file has."""
    return f"No file has a placeholder {{{{{name}}}}}, so the value set for {name} was not used."


def _elsewhere(found: Mapping[str, int], dataset: str | None, split: str) -> list[str]:
    asked = split if split in SPLITS else f"that of the column {split}"
    return [
        f"{_rows(n)} {'is' if n == 1 else 'are'} in {dataset} already and {'stays' if n == 1 else 'stay'} in its "
        f"{where} split, not in {asked}."
        for where, n in found.items()
    ]


def _beside(sources: Sequence[_Source]) -> list[str]:
    return [
        f"{source.file.path.name}: not read beside its rows: {', '.join(source.file.beside)}."
        for source in sources
        if source.file.beside
    ]


def _rows(n: int) -> str:
    return f"{n:,} row" if n == 1 else f"{n:,} rows"


# -- rows, one after another -------------------------------------------------------------------------------------------


_Judged = tuple[PreferenceDraft | FeedbackDraft, Split]
_Made = PreparedPair | _Judged


class _Counter:
    """Counts rows as they stream by, and writes the rejected ones to a report that stays only if the import does.

    Pairs are handed on; preferences and feedback are written here, a batch at a time. Rows are read and prepared in
    another thread than the one that writes.
    """

    def __init__(
        self,
        store: Store,
        dataset: str | None,
        split: Split,
        rows: _RowOptions,
        report: Path,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self.store, self.dataset, self.split, self.rows = store, dataset, split, rows
        self.report, self.on_progress = report, on_progress
        self.read = self.good = self.bad = self.preferences = self.feedback = self.known = 0
        self.problems: list[Rejected] = []
        self.not_read: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._low: Counter[tuple[float, float]] = Counter()
        self._thumbs: Counter[bool] = Counter()
        self._judged: list[_Judged] = []
        self._file: TextIO | None = None
        self._stack = ExitStack()

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is not None and self._file is not None:
            self.report.unlink(missing_ok=True)

    def pairs(self, sources: Iterable[_Source]) -> Generator[PreparedPair]:
        """The good pairs of all files, filled, checked and prepared."""
        seen = 0
        with closing(ahead(self._chunks(sources))) as chunks:
            for rows, chunk in chunks:
                while self.on_progress and seen + _PROGRESS_EVERY <= rows:
                    seen += _PROGRESS_EVERY
                    self.on_progress(seen)
                for made in chunk:
                    if isinstance(made, PreparedPair):
                        yield made
                    else:
                        self._judged.append(made)
                    if len(self._judged) >= _BATCH:
                        self._write()
        self._write()

    def _chunks(self, sources: Iterable[_Source]) -> Iterator[tuple[int, list[_Made]]]:
        """What the files hold, a chunk at a time, and how many rows were read with it. Never touches the store."""
        chunk: list[_Made] = []
        before = size = 0
        for source in sources:
            for draft, split in self._drafts(source):
                if isinstance(draft, PairDraft):
                    made = pairs.prepare(draft)
                    chunk.append(made)
                    size += len(made.indexed)
                elif draft is not None:
                    chunk.append((draft, split or self.split))
                    size += sum(map(len, texts_of(draft)))
                if self.read - before >= _CHUNK or size >= _CHUNK_CHARS:
                    yield self.read, chunk
                    chunk, before, size = [], self.read, 0
        yield self.read, chunk

    def _write(self) -> None:
        for split in SPLITS:
            here = [draft for draft, where in self._judged if where == split]
            if preferences := [draft for draft in here if isinstance(draft, PreferenceDraft)]:
                new, known = votes.import_preferences(self.store, preferences, dataset=self.dataset, split=split)
                self.preferences += new
                self.known += known
            if answers := [draft for draft in here if isinstance(draft, FeedbackDraft)]:
                new, known = feedback.add_feedback(self.store, answers, dataset=self.dataset, split=split)
                self.feedback += new
                self.known += known
        self._judged = []

    def _drafts(self, source: _Source) -> Iterator[tuple[Draft | None, Split | None]]:
        """The draft of each row, with the split that its column says; None for one that cannot be used."""
        for row in _read(source.file, source.format):
            self.read += 1
            if isinstance(row, Problem):
                self._reject(source, row)
                yield None, None
                continue
            try:
                split = _split_of(row, self.rows)
                draft = _checked(_adapted(_completed(row, source), split, self.rows))
            except Wrong as wrong:
                self._reject(source, Problem(row.line, wrong.field, wrong.what, row.value))
                yield None, None
                continue
            except BadInput as error:
                self._reject(source, Problem(row.line, error.where or "", error.what.rstrip("."), row.value))
                yield None, None
                continue
            self.good += 1
            self._count(row, draft, source)
            yield draft, split

    def _count(self, row: Row, draft: Draft, source: _Source) -> None:
        bounds = _bounds(row, source) if row.rating else None
        column = (self.rows.split_column or "").strip().lower()
        for name in row.unread:
            if name.lower() != column and not (row.rating and bounds and name.lower() == row.rating[0]):
                self.not_read[name] += 1
        if row.notes:
            self._changed.update(row.notes)
        if isinstance(draft, FeedbackDraft):
            if isinstance(row.draft, FeedbackDraft):
                self._thumbs[draft.good] += 1
            elif bounds:
                self._low[bounds] += 1

    def notices(self) -> list[str]:
        """What was decided on the way, and in how many rows."""
        found = []
        if self._thumbs:
            found.append(
                f"{_rows(self._thumbs.total())} with a judged answer became feedback ({self._thumbs[True]:,} good, "
                f"{self._thumbs[False]:,} bad), which is kept beside the pairs and not trained on as pairs."
            )
        for (low, high), n in self._low.items():
            found.append(
                f"{_rows(n)} with a rating below the middle of {low:g} to {high:g} became feedback (bad), not pairs."
            )
        return found + [f"{_rows(n)}: {note}." for note, n in self._changed.items()]

    def nothing_usable(self, sources: Sequence[_Source]) -> BadInput:
        """The error when no row can be used."""
        if not self.problems:
            return BadInput(
                "The file holds no rows.", where=str(sources[0].file.path), todo="Check that the right file was saved."
            )
        first = self.problems[0]
        path = next(source.file.path for source in sources if source.file.path.name == first.file)
        where = f"{path}:{first.line}"
        what = f"{first.field}: {first.what}" if first.field else first.what
        count = "The only row cannot" if self.read == 1 else f"None of the {self.read} rows can"
        return BadInput(f"{count} be used ({what}).", where=where, todo="Correct the file, or name its --format.")

    def _reject(self, source: _Source, problem: Problem) -> None:
        self.bad += 1
        entry = Rejected(source.file.path.name, problem.line, problem.field, problem.what)
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


def _completed(row: Row, source: _Source) -> Draft:
    """The draft of a row with its placeholders filled, its kind and origin set, and a low rating taken as feedback."""
    draft, origin = row.draft, {"file": source.file.path.name, "line": row.line}
    if type(draft) is PairDraft and not source.variables and not row.rating:  # nearly always: without a second copy
        return PairDraft(
            draft.question, draft.answer, draft.system, draft.history, source.kind, draft.status, draft.tags, origin
        )
    draft = replace(draft, source=origin)
    if source.variables and any("{{" in text for text in texts_of(draft)):
        draft = with_texts(draft, lambda text: fill(text, source.variables))
    if not isinstance(draft, PairDraft):
        return draft
    bounds = _bounds(row, source)
    if row.rating and bounds and is_low(row.rating[1], bounds):
        return judged(draft, False)
    own = isinstance(draft, PlacedDraft) and not source.kind_given
    return draft if own or source.kind == draft.kind else replace(draft, kind=source.kind)


def _split_of(row: Row, rows: _RowOptions) -> Split | None:
    """The split that the column says; None without one. Wrong for a row without a split."""
    if not rows.split_column:
        return None
    value = Fields(row.value).peek(rows.split_column.strip().lower()) if isinstance(row.value, dict) else None
    if is_empty(value):
        raise Wrong(rows.split_column, "is empty, so the row has no split")
    return split_named(value)


def _adapted(draft: Draft, split: Split | None, rows: _RowOptions) -> Draft:
    """A pair with the split of its column, the tags of the import, and as a draft if all are."""
    if not isinstance(draft, PairDraft):
        return draft
    if split is not None:
        named = {name: getattr(draft, name) for name in PairDraft.__dataclass_fields__}
        draft = PlacedDraft(**named, split=split)
    if rows.tags:
        draft = replace(draft, tags=tuple(dict.fromkeys((*draft.tags, *rows.tags))))
    return replace(draft, status="draft") if rows.as_draft else draft


def _bounds(row: Row, source: _Source) -> tuple[float, float] | None:
    """The ends of the scale of a row's rating, if it has a rating and they are known."""
    if row.rating is None:
        return None
    return (1.0 if row.rating[2] > 1 else 0.0, row.rating[2]) if row.rating[2] else source.scale


def _checked(draft: Draft) -> Draft:
    """The draft when it can be kept. BadInput names the field that cannot."""
    if isinstance(draft, PairDraft):
        return pairs.check_draft(draft)
    return votes.check_draft(draft) if isinstance(draft, PreferenceDraft) else feedback.check_feedback(draft)


# -- out of the store --------------------------------------------------------------------------------------------------


def export_dataset(
    store: Store,
    name: str,
    format: str,
    path: Path | str,
    overwrite: bool = False,
    split: Split | None = None,
    *,
    status: Status | None = "ready",
    where: str = "",
) -> int:
    """Writes a dataset's ready pairs (its preferences or feedback, for those formats) to a file; returns how many.

    `status` None writes pairs of any status; `where` is a query that they must match. Conflict when the file is there
    and `overwrite` is not set; Unsupported, before anything is written, when the format cannot hold a pair: it counts
    them. BadInput for a query with a format of preferences or feedback.
    """
    path = _free(path, overwrite)
    found = find_format(format)
    datasets.get_id(store, name)
    if found.holds != "pair" and where:
        raise BadInput("A query finds pairs alone.", where="--where", todo=f"Leave it out with the format {format}.")
    if found.holds == "preference":
        return found.write(path, votes.preferences(store, name, split))
    if found.holds == "feedback":
        return found.write(path, feedback.list_feedback(store, name, split))
    members = datasets.members(store, name, split=split, status=status)
    if where:
        wanted = set(query.search_ids(store, where, dataset=name))
        members = [member for member in members if member[0].id in wanted]
    refused = [(pair, what) for pair, _ in members if (what := found.cannot_hold(pair))]
    if refused:
        pair, what = refused[0]
        raise Unsupported(
            f"{len(refused):,} of {len(members):,} pairs have {what}, which {format} cannot hold.",
            where=f"pair {pair.uid}",
            todo="Export as tuningfork, which can hold everything that a pair has.",
        )
    return found.write(path, members if isinstance(found, OwnRows) else [pair for pair, _ in members])


def left_out(store: Store, name: str, format: str) -> dict[str, int]:
    """How many rows of a dataset are of another sort than a format writes: pairs, preferences, feedback."""
    holds = find_format(format).holds
    counts = {
        "pair": len(datasets.members(store, name)),
        "preference": len(votes.preferences(store, name)),
        "feedback": feedback.count_feedback(store, name),
    }
    return {sort: n for sort, n in counts.items() if sort != holds and n}


def export_preferences(store: Store, path: Path | str, *, form: str = "trl", overwrite: bool = False) -> int:
    """Writes every preference, from votes and imports, in TRL's or ShareGPT's form; returns how many."""
    writers = {"trl": find_format("preference").write, "sharegpt": preference.write_sharegpt}
    if form not in writers:
        raise BadInput(f"{form!r} is not a form of preferences.", where="form", todo="Use trl or sharegpt.")
    return writers[form](_free(path, overwrite), votes.preferences(store))


def _free(path: Path | str, overwrite: bool) -> Path:
    """The path, when a file may be written there. Conflict when there is one and `overwrite` is not set, BadInput when
    what is there is no file."""
    path = Path(path)
    target_of(path)
    if path.exists() and not overwrite:
        raise Conflict("The file exists already.", where=str(path), todo="Choose another name, or add --overwrite.")
    return path
