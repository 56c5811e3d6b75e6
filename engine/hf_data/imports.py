"""An import of files and Hugging Face data sets, as the command line and the app start it.
Which source is which, and which split goes where, is decided here; what becomes of a row in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.core.scratch import sweep
from engine.hf_data import spooling
from engine.hf_data.references import DataSetRef, split_pairs
from engine.hf_data.spooling import About
from store import importing
from store.db import Store
from store.errors import BadInput
from store.importing import ImportReport
from store.importing_splits import import_splits
from store.records import Split


def import_data(
    store: Store,
    sources: Sequence[Path | DataSetRef],
    *,
    split: str | None = None,
    on_about: Callable[[About], None] | None = None,
    on_fetched: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
    **how: Any,
) -> ImportReport:
    """Imports files, and data sets whose rows are first written to files of their own: one edit, all of it or nothing.

    `split` is one of ours, a column that says it, or THEIRS=OURS,... for the splits of data sets, of which no other is
    read then. Without one the splits of a data set become ours by their names and files go to train. `how` is what
    `importing.import_files` takes beside it. `on_fetched` gets the rows that were read of a data set, `on_progress`
    those of the import.
    """
    asked = split_pairs(split) if split else None
    refs = [source for source in sources if isinstance(source, DataSetRef)]
    if asked is not None and not refs:
        todo = "Use train, val, test, or the name of a column."
        raise BadInput(f"{split!r} names splits of a data set, and none is imported.", where="--split", todo=todo)
    into = split if asked is None else None
    if not refs:
        files = [source for source in sources if isinstance(source, Path)]
        return importing.import_files(store, files, split=into or "train", on_progress=on_progress, **how)
    with ExitStack() as stack:
        parts: dict[str, list[Path | str]] = {}
        notices: list[str] = []
        for source in sources:
            if isinstance(source, Path):
                parts.setdefault(into or "train", []).append(source)
                continue
            found = stack.enter_context(_spooled(store, source, asked, on_about, on_fetched))
            notices += [*spooling.went_to(found, into, asked), *found.notices]
            for each in found.files:
                parts.setdefault(into or each.split, []).append(each.path)
        report = import_splits(store, parts, on_progress=on_progress, **how)
    return replace(report, notices=[*notices, *report.notices])


def _spooled(
    store: Store,
    ref: DataSetRef,
    asked: Mapping[str, Split] | None,
    on_about: Callable[[About], None] | None,
    on_fetched: Callable[[int], None] | None,
) -> Any:
    sweep(store.home.cache, spooling.SCRATCH)
    return spooling.spooled(ref, store.home.cache, splits=asked, on_about=on_about, on_rows=on_fetched)
