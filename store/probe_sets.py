"""The probe sets of a home by their names: files in its folder `probes`, and sets of questions kept in the store.
What a file says is probe_files', what the store keeps is probes'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from store import probe_files, probes
from store.datasets import near
from store.db import Store
from store.errors import BadInput, Conflict, NotFound
from store.home import Home
from store.names import check_name
from store.records import Probe

_ENDING = ".jsonl"
_LONGEST = 200
"""Bytes of a name: file systems take 255 of a file's."""


def path_of(home: Home, name: str) -> Path:
    """Where the file of a set is, or would be. BadInput for what can be no name."""
    check_name(name, "probe set")
    if len(name.encode()) > _LONGEST:
        raise BadInput("The name is too long for a file.", where="name", todo="Choose a shorter one.")
    return home.probes / f"{name}{_ENDING}"


def files(home: Home) -> list[str]:
    """The names of the sets that are files, in their order."""
    return sorted(path.stem for path in home.probes.glob(f"*{_ENDING}") if path.is_file())


def names(store: Store) -> list[str]:
    """The names of all sets, each once."""
    return sorted({*files(store.home), *probes.sets(store)})


def find(store: Store, name: str, check: Callable[[Probe, str], None] = lambda probe, where: None) -> list[Probe]:
    """The probes of the set of this name; `check` gets each and where it stands, as in `probe_files.read`.

    NotFound suggests similar names; Conflict where a file and a set of the store have the same name.
    """
    kept, found = name in probes.sets(store), name in files(store.home)
    if not kept and not found:
        todo = near(name, names(store), "probe set", "tuningfork probe --model REF --probes FILE")
        raise NotFound(f"There is no probe set {name!r}.", todo=todo)
    if not found:
        asked = probes.get_set(store, name)
        for number, probe in enumerate(asked, 1):
            check(probe, f"probe set {name}, probe {number}")
        return asked
    path = path_of(store.home, name)
    if kept:
        what = f"Two probe sets have the name {name!r}: a file, and questions kept from Compare."
        raise Conflict(what, where=str(path), todo=f"Name the file: {path}")
    return probe_files.read(path, check)
