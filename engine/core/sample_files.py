"""Finds the sample data that comes with Tuningfork: identity and product pairs, rehearsal rows, preferences, probes.
Only names and paths; the importer reads the files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from store.errors import NotFound
from store.suggest import hint

PREFIX = "sample:"
"""What begins the name of a sample file where a path may stand."""
_PACKAGE = "sample_data"
_SUFFIXES = (".json", ".jsonl")


def names() -> list[str]:
    """The files that `path` finds, folders first in the name: `identity.json`, `probes/identity.jsonl`, …"""
    root = _root()
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix in _SUFFIXES)


def path(name: str) -> Path:
    """The sample file `name` (its suffix may be left out). NotFound names those that there are."""
    known = names()
    for candidate in (name, *(name + suffix for suffix in _SUFFIXES)):
        if candidate in known:
            return _root() / candidate
    todo = hint(name, known, f"There are: {', '.join(known)}.", most=1)
    raise NotFound(f"There is no sample file {name!r}.", todo=todo)


def find(text: str, folder: str = "") -> Path | None:
    """The file that `sample:NAME` names, in a folder such as `probes/`, which the name may have too; None for any other
    text. NotFound where there is no such sample file."""
    return path(folder + text.removeprefix(PREFIX).removeprefix(folder)) if text.startswith(PREFIX) else None


def _root() -> Path:
    return Path(str(files(_PACKAGE)))
