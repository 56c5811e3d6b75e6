"""Several splits in one import: the files of each go to a split of their own, as one edit, all of it or nothing.
What is done with the rows of a file is importing.py's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from store import importing
from store.db import Store, translated
from store.edits import recording
from store.importing import ImportReport


def import_splits(
    store: Store,
    files: Mapping[str, Sequence[Path | str]],
    *,
    on_progress: Callable[[int], None] | None = None,
    variables: Mapping[str, str] | None = None,
    **how: Any,
) -> ImportReport:
    """Imports files by the split that each goes to; `how` is what `importing.import_files` takes beside them.

    Raises what it raises, with nothing written: also when none of the rows of one split can be used. A pair that is in
    two of the splits stays in the one that was read first; the report counts it among the duplicates.
    """
    reports: list[tuple[str, ImportReport]] = []
    names = [Path(path).name for paths in files.values() for path in paths]
    try:
        with recording(store, f"import {', '.join(names)}", how.get("actor", "user")):
            for split, paths in files.items():
                before = sum(report.read for _, report in reports)
                told = (lambda rows, before=before: on_progress(before + rows)) if on_progress else None
                report = importing.import_files(store, paths, split=split, variables=variables, on_progress=told, **how)
                reports.append((split, report))
    except BaseException:
        for _, report in reports:
            if report.report:
                store.home.absolute(report.report).unlink(missing_ok=True)
        raise
    return _joined(store, reports, variables or {})


def _joined(store: Store, reports: Sequence[tuple[str, ImportReport]], variables: Mapping[str, str]) -> ImportReport:
    """One report of several: sums, and the rejected rows in the file of the first that has one."""
    (_, first), *others = reports
    if not others:
        return first
    all_ = [report for _, report in reports]
    not_read: Counter[str] = Counter()
    elsewhere: Counter[str] = Counter()
    for report in all_:
        not_read.update(report.not_read)
        elsewhere.update(report.elsewhere)
    return replace(
        first,
        read=sum(report.read for report in all_),
        kept=sum(report.kept for report in all_),
        rejected=sum(report.rejected for report in all_),
        duplicates=sum(report.duplicates for report in all_),
        report=_one_file(store, [report.report for report in all_ if report.report]),
        problems=[problem for report in all_ for problem in report.problems],
        pairs=sum(report.pairs for report in all_),
        preferences=sum(report.preferences for report in all_),
        feedback=sum(report.feedback for report in all_),
        not_read=dict(not_read.most_common()),
        notices=_notices(reports, variables),
        elsewhere=dict(elsewhere),
    )


def _notices(reports: Sequence[tuple[str, ImportReport]], variables: Mapping[str, str]) -> list[str]:
    """The notices of all, each with its split; a value counts as unused when no split has used it."""
    unused = {importing.unused(name) for name in variables}
    lines = [line for line in unused if all(line in report.notices for _, report in reports)]
    return lines + [f"{split}: {line}" for split, report in reports for line in report.notices if line not in unused]


def _one_file(store: Store, names: Sequence[str]) -> str | None:
    """The rejected rows of all reports in the first of their files."""
    if not names:
        return None
    first = store.home.absolute(names[0])
    with translated(first, OSError), first.open("ab") as out:
        for name in names[1:]:
            path = store.home.absolute(name)
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    out.write(chunk)
            path.unlink()
    return names[0]
