"""What an import shows while it runs: what it fetches from where, then the rows that it reads and imports.
Shows on stderr alone; the import is the engine's."""

from __future__ import annotations

from engine.hf_data.spooling import About
from tui.cli.output import Progress, say
from tui.import_report import beforehand


class ImportProgress:
    """A progress line for each data set that is read, then one for the import. A context manager: leaving it ends it.

    Its methods are the callbacks of `engine.hf_data.imports.import_data`.
    """

    def __init__(self) -> None:
        self._line = Progress("Importing row")
        self._importing = False

    def __enter__(self) -> ImportProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.clear()

    def about(self, found: About) -> None:
        """A data set is about to be read."""
        self._line.clear()
        say(beforehand(found))
        self._line = Progress(f"Reading {found.ref}, row", found.total)

    def fetched(self, rows: int) -> None:
        """So many rows of it were read; none while the hub is asked what there is."""
        if rows:
            self._line.update(rows)
        else:
            self._line.show("Waiting for the data set")

    def imported(self, rows: int) -> None:
        """So many rows of all were imported."""
        if not self._importing:
            self._line.clear()
            self._line, self._importing = Progress("Importing row"), True
        self._line.update(rows)
