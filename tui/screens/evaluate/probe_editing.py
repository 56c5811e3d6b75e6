"""What the screens of probe sets ask of the home: which sets there are, changing one, whether a probe can be judged.
Runs in threads of the bridge; knows no widget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine.core import sample_files
from engine.evaluation import judges
from engine.evaluation.judges.model import PASS_AT, ModelJudge
from engine.evaluation.probes import ProbeJudges
from store import probe_files, probe_sets, probes
from store.db import Store
from store.errors import BadInput, Conflict, UserError
from store.probe_files import ProbeFile
from store.records import Probe
from tui import file_errors

Source = Literal["yours", "bundled", "kept"]
_BUNDLED = "probes/"
_ANY = ProbeJudges(model=ModelJudge("any"))
"""The judges as they are when a model to ask will be named."""


@dataclass(frozen=True, slots=True)
class ListedSet:
    """A probe set: a file of the home, one that comes with Tuningfork, or questions kept from Compare. `wrong` says why
    its file cannot be read; it then has no probes."""

    name: str
    source: Source
    whole: ProbeFile
    wrong: str = ""

    @property
    def editable(self) -> bool:
        return self.source == "yours" and not self.wrong

    @property
    def asked_as(self) -> str:
        """What `tuningfork probe --probes` calls it."""
        return f"sample:{self.name}" if self.source == "bundled" else self.name


@dataclass(frozen=True, slots=True)
class SetChange:
    """One change of a set's file; None stands for no file."""

    name: str
    before: ProbeFile | None
    after: ProbeFile | None
    said: str


def listed(store: Store) -> list[ListedSet]:
    """Every set: those of the home first."""
    found = [_read(name, "yours", probe_sets.path_of(store.home, name)) for name in probe_sets.files(store.home)]
    bundled = [Path(name) for name in sample_files.names() if name.startswith(_BUNDLED)]
    found += [_read(path.stem, "bundled", sample_files.path(path.as_posix())) for path in bundled]
    return found + [
        ListedSet(name, "kept", ProbeFile(tuple(probes.get_set(store, name)))) for name in probes.sets(store)
    ]


def _read(name: str, source: Source, path: Path) -> ListedSet:
    try:
        return ListedSet(name, source, probe_files.read_whole(path))
    except BadInput as error:
        return ListedSet(name, source, ProbeFile(()), str(error))


def check_name(store: Store, name: str) -> None:
    """BadInput or Conflict for a name that a new set cannot have."""
    probe_sets.path_of(store.home, name)
    if name in probe_sets.names(store):
        raise Conflict(f"There is a probe set {name!r} already.", where="name", todo="Choose another name.")


def remove_unreadable(store: Store, name: str) -> None:
    """Delete the file of a set that cannot be read."""
    probe_sets.path_of(store.home, name).unlink(missing_ok=True)


def change(store: Store, made: SetChange) -> None:
    """Make a change. Conflict where the file is not as it was before, or a new set has the name of another one."""
    path = probe_sets.path_of(store.home, made.name)
    if made.before is None:
        check_name(store, made.name)
    try:
        found = probe_files.read_whole(path) if path.exists() else None
        if found != made.before:
            what = f"The probe set {made.name} was changed meanwhile, in another window or an editor."
            raise Conflict(what, where=str(path), todo="Look at it as it is now, and change it again.")
        if made.after is None:
            path.unlink()
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        probe_files.write(path, made.after)
    except OSError as error:
        what = f"The probe set cannot be written: {file_errors.reason(error)}."
        raise UserError(what, where=str(path), todo="Free some space, or check who owns the folder.") from None


def edit(store: Store, name: str, at: int, old: Probe | None, new: tuple[Probe, ...], said: str) -> SetChange:
    """Put `new` in the place of `old`, the probe number `at`, or at the end where `old` is None; returns the change.

    The set may have been changed meanwhile: Conflict only where `old` is not there any more. BadInput where nothing
    would be left.
    """
    path = probe_sets.path_of(store.home, name)
    whole = probe_files.read_whole(path)
    own = list(whole.own)
    if old is None:
        at = len(own)
    elif at >= len(own) or own[at] != old:
        if own.count(old) != 1:
            what = f"This probe of {name} was changed meanwhile, in another window or an editor."
            raise Conflict(what, where=str(path), todo="Look at it as it is now, and change it again.")
        at = own.index(old)
    own[at : at + (old is not None)] = new
    if not own:
        raise BadInput("A probe set needs at least one probe.", todo="Delete the whole set, in the list of sets.")
    made = SetChange(name, whole, replace(whole, own=tuple(own)), said)
    change(store, made)
    return made


def check(probe: Probe, whole: ProbeFile) -> None:
    """BadInput, with the field in `where`, for a probe that no set could hold, or that its judge could not judge."""
    if not probe.question.strip():
        raise BadInput("The question is empty.", where="question", todo="Write what is asked.")
    probe_files.check_probe(probe, "question")
    merged = _merged(probe, whole)
    try:
        _ANY.check(merged)
    except BadInput as error:
        reads_rubric = _ANY.asks(merged)
        raise BadInput(
            error.what, where="rubric" if probe.rubric and not reads_rubric else "must", todo=error.todo
        ) from None


def problem(probe: Probe, whole: ProbeFile) -> str:
    """Why a probe of a set cannot be judged; "" for one that can."""
    try:
        _ANY.check(_merged(probe, whole))
    except UserError as error:
        return error.what
    return ""


def judge_name(probe: Probe, whole: ProbeFile) -> str:
    """The judge of a probe of a set."""
    return _merged(probe, whole).judge or judges.DEFAULT.name


def expectation(probe: Probe, whole: ProbeFile) -> str:
    """What a good answer is, in a few words."""
    if judge_name(probe, whole) == ModelJudge.name:
        return f"{PASS_AT if whole.pass_at is None else whole.pass_at} of {probe_files.MOST} or more"
    without = f"not {' | '.join(probe.must_not)}" if probe.must_not else ""
    return "; ".join(filter(None, (" | ".join(probe.must), without)))


def _merged(probe: Probe, whole: ProbeFile) -> Probe:
    return replace(whole, own=(probe,)).probes[0]
