"""Makes what a request asks for: built in a hidden folder, verified, then renamed into place, and kept in the store.
An export that is cut off, cancelled or rejected leaves nothing that looks finished."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from engine.core.files import is_disk_full, sha256_of
from engine.core.scratch import scratch, sweep
from engine.evaluation import probes
from engine.export import card, listing, planning, quant_mix, targets, verification
from engine.export.advice import advise
from engine.export.planning import Planned, Selection
from engine.export.public_names import public_base
from engine.export.reference_measurements import ReferenceMeasurements
from engine.export.request import AUTO, Request, Target
from engine.export.targets.base import Writing
from engine.gguf.metadata import FileMetadata
from engine.gguf.tensors import is_plain
from engine.models.licence import licence_of
from store import datasets, exports
from store.db import Store
from store.errors import NoSpace, TuningforkError, WorkerError
from store.records import Probe, Run

_SCRATCH = "export-"
Tell = Callable[[str, str, str, int, int], None]
"""(target, stage, text, done, total). The stage is preparing, write, quantise or verify; raises to cancel."""


@dataclass(frozen=True, slots=True)
class MakeContext:
    """One run being exported: everything that its targets share."""

    store: Store
    request: Request
    chosen: Selection
    probes: list[Probe]
    tell: Tell
    scratch: Path

    @property
    def run(self) -> Run:
        return self.chosen.run


def make(store: Store, request: Request, chosen: Selection, tell: Tell) -> Iterator[int]:
    """Make every target of the request; yields the id of each export when it has ended, done or rejected.

    `chosen` is the run's selection, its base prepared. Raises what `engine.export.service.submit` documents; then the
    export at work is kept as failed.
    """
    planned, asked = planning.plan(store, request, chosen), _probes(request)
    planning.check(planned, overwrite=request.overwrite)
    with contextlib.ExitStack() as stack:
        sweep(store.home.cache, _SCRATCH)
        folder = stack.enter_context(scratch(store.home.cache, _SCRATCH))
        work = MakeContext(store, request, chosen, asked, tell, folder)
        measurements: ReferenceMeasurements | None = None
        for each in planned:
            if request.verify:
                if measurements is None:
                    measurements = ReferenceMeasurements(store.home, chosen.model, _rows(work), work.probes, folder)
                    stack.callback(measurements.close)
                measurements.tell = partial(tell, each.target.title, "verify")
            table: list[Any] = []
            if each.target.quant == AUTO:
                assert measurements is not None  # planning refuses auto without verification
                each, table = _resolved(work, each, measurements)
                measurements.tell = partial(tell, each.target.title, "verify")
            yield _one(work, each, measurements, table)


def _resolved(work: MakeContext, planned: Planned, measurements: ReferenceMeasurements) -> tuple[Planned, list[Any]]:
    """What `--quant auto` stands for, and the table of all that was tried. WorkerError when every quant failed."""
    from engine.export import quant_trial

    writing = _writing(work, planned.target)
    tried = quant_trial.run(writing, measurements)
    best = quant_trial.recommended(tried)
    if best is None:
        raise WorkerError(
            "No quant of this run passed its verification.",
            where=work.run.name,
            todo="Export --to merged or --to gguf --quant f16, and compare the run's answers.",
        )
    request = replace(work.request, targets=(quant_trial.target_of(planned.target, best),))
    found = planning.plan(work.store, request, work.chosen)[0]
    planning.check_place(found, work.request.overwrite)
    return found, quant_trial.as_json(tried)


def _probes(request: Request) -> list[Probe]:
    return probes.filled(probes.load(request.probes), request.variables) if request.probes else []


def _rows(work: MakeContext) -> list[Any]:
    rows = datasets.snapshot_rows(work.store, work.run.snapshot)
    return [row for row in rows if row.split != "train"] or rows


def _one(work: MakeContext, planned: Planned, measurements: ReferenceMeasurements | None, tried: list[Any]) -> int:
    target, store = planned.target, work.store
    kind = targets.get(target.format)
    planning.check_place(planned, work.request.overwrite)
    planned.place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _begun(work, planned) as (number, part):
        try:
            part.mkdir(mode=0o700)
            written = kind.write(_writing(work, target), target, part, planned.path.name)
            report = verification.NOT_VERIFIED
            if measurements is not None:
                report = verification.verify(measurements, written, kind.checks())
            held = quant_mix.in_file(written.gguf) if written.gguf and target.quant else {}
            report = report | {
                "bytes_by_type": held, "mostly": quant_mix.mostly(held, target.quant),
                "base": work.run.base, "run": work.run.name, "step": work.chosen.step, "snapshot": work.run.snapshot,
                "advice": None if verification.passed(report) else _advice(work, target, report),
            }  # fmt: skip
            if tried:
                report["tried"] = tried
            if target.importance:
                report["importance"] = True
            if work.chosen.strength is not None:
                report["strength"] = work.chosen.strength
            sums = _finish_folder(work, target, planned, part, report)
            path, size = _place(planned, part, report)
        except BaseException as error:
            shutil.rmtree(part, ignore_errors=True)
            exports.fail(store, number, _sentence(error))
            raise _full(error, planned) or error from None
        good = verification.passed(report)
        exports.finish(
            store,
            number,
            sha256=sums.get(planned.path.name),
            bytes=size,
            verification=report,
            state="done" if good else "rejected",
            path=store.home.relative(path),
            error=None if good else verification.reasons(report),
        )
    return number


def _writing(work: MakeContext, target: Target) -> Writing:
    model = work.chosen.model
    assert model.folder is not None and model.adapter is not None
    return Writing(
        home=work.store.home,
        run=work.run,
        model=model,
        base=model.folder,
        adapter=model.adapter,
        about=_about(work),
        official=work.request.converter == "official",
        scratch=work.scratch,
        rows=datasets.snapshot_rows(work.store, work.run.snapshot),
        tell=partial(work.tell, target.title),
    )


def _about(work: MakeContext) -> FileMetadata:
    facts = {"run": work.run.name, "snapshot": work.run.snapshot, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    if work.chosen.step is not None:
        facts["step"] = str(work.chosen.step)
    if work.chosen.strength is not None:
        facts["strength"] = f"{work.chosen.strength:g}"
    return FileMetadata(
        work.run.name, public_base(work.run.base), licence_of(work.run.base, work.chosen.model.folder), facts
    )


# ---------------------------------------------------------------- into place


def _finish_folder(
    work: MakeContext, target: Target, planned: Planned, part: Path, report: dict[str, Any]
) -> dict[str, str]:
    """Card, sums and verification beside what was made, their names kept in the report. Returns the SHA-256 of each
    file."""
    made = sorted(path.name for path in part.iterdir())
    facts = card.gather(work.store, work.run, work.chosen.step, target, work.chosen.model, report, made)
    (part / "README.md").write_text(card.card(facts), "utf-8")
    work.tell(target.title, "verify", "Computing SHA-256", 0, 0)
    sums = {name: sha256_of(part / name) for name in [*made, "README.md"]}
    (part / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), "utf-8")
    report["files"] = [*sums, "SHA256SUMS", "proof.json"]
    public = {"base": public_base(work.run.base)}  # the store keeps the base's path, the file does not
    (part / "proof.json").write_text(json.dumps(report | public, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return sums


def _place(planned: Planned, part: Path, report: dict[str, Any]) -> tuple[Path, int]:
    """Rename what was built to where it belongs. Returns its path and its size in bytes."""
    size = sum(path.stat().st_size for path in part.iterdir())
    main = part / planned.path.name if planned.path != planned.folder else None
    suffix = "" if verification.passed(report) else planning.REJECTED
    if main is not None and suffix:
        main = main.rename(main.with_name(main.name + suffix))
    if planned.single:
        assert main is not None
        final = planned.folder / main.name
        report["files"] = [*planning.beside(final.name), final.name]
        for made, name in ((part / name, f"{final.name}.{name}") for name in planning.BESIDE):
            _replace(made, planned.folder / name)
        _replace(main, final)
        part.rmdir()
        return final, size
    place = planned.folder.with_name(planned.folder.name + suffix)
    old = part.with_name(part.name + ".old")
    if place.exists():
        part.chmod(stat.S_IMODE(place.stat().st_mode))
        place.rename(old)
    part.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return (place / main.name if main else place), size


def _replace(made: Path, place: Path) -> None:
    """Rename a file to where it belongs; it gets the mode of the file that it replaces."""
    if place.is_file():
        made.chmod(stat.S_IMODE(place.stat().st_mode))
    made.replace(place)


@contextlib.contextmanager
def _begun(work: MakeContext, planned: Planned) -> Iterator[tuple[int, Path]]:
    """The id of an export that has begun, and the folder to build it in. Others see the row only once it is locked: a
    sweep between the two would take it for a dead one's."""
    store, target = work.store, planned.target
    with contextlib.ExitStack() as stack:
        with store.write():
            export = exports.start(
                store,
                run=work.run.name,
                format=target.format,
                quant=target.quant,
                step=work.chosen.step,
                path=store.home.relative(planned.path),
            )
            part = listing.part_of(planned.place, export.id)
            stack.enter_context(_locked(store, export.id, part))
        yield export.id, part


@contextlib.contextmanager
def _locked(store: Store, export_id: int, part: Path) -> Iterator[None]:
    """Keep the export's lock file locked while it is made; the file names what to clean up after a crash."""
    path = listing.lock_path(store.home, export_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(str(part))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _advice(work: MakeContext, target: Target, report: dict[str, Any]) -> str:
    """What to export instead, by what was made and verified of the same weights."""
    made: dict[Target, str] = {}
    for e in exports.all_exports(work.store, work.run.name):
        same = e.step == work.chosen.step and e.verification.get("strength") == work.chosen.strength
        if same and e.verification.get("checks") and e.state in ("done", "rejected"):
            made.setdefault(Target(e.format, e.quant), e.state)
    failed = {str(check["name"]) for check in report["checks"] if check["state"] == "failed"}
    adapter = work.chosen.model.adapter
    plain = adapter is not None and is_plain(adapter)
    return advise(target, failed, made, plain=plain, official=work.request.converter == "official")


def _sentence(error: BaseException) -> str:
    if isinstance(error, TuningforkError):
        return str(error)
    return "It was cancelled." if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


def _full(error: BaseException, planned: Planned) -> NoSpace | None:
    """The error for a disk that filled up meanwhile."""
    if isinstance(error, TuningforkError) or not is_disk_full(error):
        return None
    todo = "Free some space and try again; nothing half-made was left behind."
    return NoSpace("The disk filled up during the export.", where=str(planned.folder), todo=todo)
