"""Makes what a request asks for: built in a hidden folder, proven, then renamed into place, and kept in the store.
An export that is cut off, cancelled or found wrong leaves nothing that looks finished."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from engine.evaluation import probes
from engine.export import card, listing, merged, official_converter, ollama, service, verification
from engine.export.reference_measurements import Bench
from engine.export.request import Request, Target
from engine.export.service import Planned
from engine.export.torch_process import merge_with_peft
from engine.export.verification import Made
from engine.gguf import adapter as gguf_adapter
from engine.gguf import model
from engine.gguf.metadata import FileMetadata
from engine.gguf.tensors import is_plain
from engine.models import refs
from engine.models.licence import licence_of
from engine.models.refs import Ref, Resolved
from store import datasets, exports
from store.db import Store
from store.errors import Conflict, NoSpace, TuningforkError
from store.records import Probe, Run

SPARE_BYTES = 64 << 20
Tell = Callable[[str, str, str, int, int], None]
"""(target, stage, text, done, total)"""


@dataclass(frozen=True, slots=True)
class Work:
    """One run being exported: everything its targets share."""

    store: Store
    request: Request
    run: Run
    step: int | None
    model: Resolved
    probes: list[Probe]
    tell: Tell
    scratch: Path


def make(store: Store, request: Request, tell: Tell) -> Iterator[int]:
    """Make every target of the request; yields the id of each export when it has ended, done or rejected.

    Raises what `engine.export.service.export` documents; then the export at work is kept as failed.
    """
    run, step, _ = service.chosen(store, request.run)
    model = refs.resolve(store, str(Ref.run(run.name, step)))
    planned, probes = service.plan(store, request), _probes(request)
    for each in planned:  # before the first is made, not after minutes of work
        _check_place(each, request.overwrite)
    _check_room(request, planned)
    with contextlib.ExitStack() as stack:
        scratch = store.home.cache / f"export-{datetime.now(UTC):%H%M%S%f}"
        scratch.mkdir(mode=0o700, parents=True)
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        work = Work(store, request, run, step, model, probes, tell, scratch)
        bench: Bench | None = None
        for each in planned:
            if request.prove:
                if bench is None:
                    bench = Bench(store.home, model, _rows(work), work.probes, scratch)
                    stack.callback(bench.close)
                bench.tell = partial(tell, each.target.title, "prove")
            yield _one(work, each, bench)


def _probes(request: Request) -> list[Probe]:
    return probes.filled(probes.load(request.probes), request.variables) if request.probes else []


def _rows(work: Work) -> list[Any]:
    rows = datasets.snapshot_rows(work.store, work.run.snapshot)
    return [row for row in rows if row.split != "train"] or rows


def _check_room(request: Request, planned: list[Planned]) -> None:
    """Refuse before the first byte is written: sizes are known well enough beforehand."""
    for each in planned:
        place = next(path for path in (each.folder, *each.folder.parents) if path.exists())
        needed = each.bytes + _scratch_bytes(each) + SPARE_BYTES
        free = shutil.disk_usage(place).free
        if free < needed:
            raise NoSpace(
                f"{each.target.title} needs {needed / 1e6:.0f} MB; {free / 1e6:.0f} MB are free.",
                where=str(place),
                todo="Free some space, or choose another place with --out.",
            )


def _scratch_bytes(planned: Planned) -> int:
    """K-quants are made from a float16 file, which is deleted at once."""
    if planned.target.quant not in model.QUANTISED:
        return 0
    return int(planned.bytes / service.QUANTS[planned.target.quant] * 2)


def _one(work: Work, planned: Planned, bench: Bench | None) -> int:
    target, store = planned.target, work.store
    _check_place(planned, work.request.overwrite)
    planned.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _begun(work, planned) as (number, part):
        try:
            part.mkdir(mode=0o700)
            made = _write(work, target, planned, part)
            report = verification.prove(bench, made) if bench else {"held": True, "checks": [], "kl": None, "types": {}}
            report |= {"base": work.run.base, "run": work.run.name, "step": work.step, "snapshot": work.run.snapshot}
            report["advice"] = None if report["held"] else _advice(store, work.run, target)
            sums = _finish_folder(work, target, planned, part, report)
            path, size = _place(planned, part, report)
        except BaseException as error:
            shutil.rmtree(part, ignore_errors=True)
            exports.fail(store, number, _sentence(error))
            raise _full(error, planned) or error from None
        exports.finish(
            store,
            number,
            sha256=sums.get(planned.path.name),
            bytes=size,
            proof=report,
            state="done" if report["held"] else "rejected",
            path=store.home.relative(path),
            error=None if report["held"] else verification.reasons(report),
        )
    return number


# ---------------------------------------------------------------- writing


def _write(work: Work, target: Target, planned: Planned, part: Path) -> Made:
    model, base, adapter = work.model, work.model.folder, work.model.adapter
    assert base is not None and adapter is not None

    def count(done: int, total: int) -> None:
        work.tell(target.title, "write", "Writing tensors", done, total)

    count(0, 1)
    if target.format == "adapter":
        merged.write_adapter(adapter, card.public_base(work.run.base), part)
        return Made(target.format, None, part)
    if target.format == "merged":
        merged.write_merged(*_expressible(work, target), model.tokenizer or base, part, count)
        return Made(target.format, None, part)
    if target.format == "gguf-adapter":
        out = gguf_adapter.convert(adapter, base, part / planned.path.name, _about(work))
        return Made(target.format, None, part, out)
    file = planned.path.name if target.format == "gguf" else f"{planned.path.name}.gguf"
    out = _gguf(work, target, part / file, count)
    if target.format == "ollama":
        tokenizer = model.tokenizer or base
        about = f"{work.run.name}, tuned from {card.public_base(work.run.base)}"
        text = ollama.modelfile(tokenizer, file, about=about, base=base)
        (part / "Modelfile").write_text(text, "utf-8")
    return Made(target.format, target.quant, part, out)


def _gguf(work: Work, target: Target, out: Path, count: Callable[[int, int], None]) -> Path:
    (base, adapter), quant = _expressible(work, target), str(target.quant)
    direct = quant if quant in model.DIRECT else "f16"
    whole = out if direct == quant else out.with_name(f".{out.name}.f16")
    if work.request.converter == "official":
        folder = out.with_name(".merged")
        folder.mkdir()
        merged.write_merged(base, adapter, work.model.tokenizer or base, folder, count)
        work.tell(target.title, "write", "Running llama.cpp's converter", 0, 1)
        official_converter.convert(work.store.home, folder, whole, direct)
        shutil.rmtree(folder)
    else:
        model.write_gguf(base, adapter, whole, direct, _about(work), count)
    if whole != out:
        work.tell(target.title, "quantise", f"Quantising to {quant}", 0, 1)
        model.quantise(whole, out, quant)
        whole.unlink()
    return out


def _expressible(work: Work, target: Target) -> tuple[Path, Path | None]:
    """The base folder and the adapter to merge here; or, for an adapter that is more than low-rank factors (DoRA, saved
    modules), a folder that PEFT merged, and none. That folder is made once."""
    base, adapter = work.model.folder, work.model.adapter
    assert base is not None and adapter is not None
    if is_plain(adapter):
        return base, adapter
    out = work.scratch / "merged"
    if not out.exists():
        work.tell(target.title, "write", "Merging with PEFT", 0, 1)
        merge_with_peft(base, adapter, out)
        merged.copy_tokenizer(base, work.model.tokenizer or base, out)
    return out, None


def _about(work: Work) -> FileMetadata:
    facts = {"run": work.run.name, "snapshot": work.run.snapshot, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    if work.step is not None:
        facts["step"] = str(work.step)
    return FileMetadata(
        work.run.name, card.public_base(work.run.base), licence_of(work.run.base, work.model.folder), facts
    )


# ---------------------------------------------------------------- into place


def _check_place(planned: Planned, overwrite: bool) -> None:
    place = planned.path if planned.single else planned.folder
    if not place.exists():
        return
    if not overwrite:
        todo = "Choose another --out, or give --overwrite to replace it."
        raise Conflict(f"{place.name} is there already.", where=str(place), todo=todo)
    if place.is_dir() and not (place / "proof.json").is_file():
        raise Conflict(
            f"{place.name} is no export: it is not replaced.", where=str(place), todo="Choose another --out."
        )


def _finish_folder(work: Work, target: Target, planned: Planned, part: Path, report: dict[str, Any]) -> dict[str, str]:
    """Card, sums and proof beside what was made, their names kept in the report. Returns the SHA-256 of each file."""
    made = sorted(path.name for path in part.iterdir())
    facts = card.gather(work.store, work.run, work.step, target, work.model, report, made)
    (part / "README.md").write_text(card.card(facts), "utf-8")
    work.tell(target.title, "prove", "Computing SHA-256", 0, 1)
    sums = {name: _sha256(part / name) for name in [*made, "README.md"]}
    (part / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), "utf-8")
    report["files"] = [*sums, "SHA256SUMS", "proof.json"]
    told = {"base": card.public_base(work.run.base)}  # the store keeps the base's path, the file does not
    (part / "proof.json").write_text(json.dumps(report | told, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return sums


def _place(planned: Planned, part: Path, report: dict[str, Any]) -> tuple[Path, int]:
    """Rename what was built to where it belongs. Returns its path and its size in bytes."""
    size = sum(path.stat().st_size for path in part.iterdir())
    main = part / planned.path.name if planned.path != planned.folder else None
    suffix = "" if report["held"] else ".rejected"
    if main is not None and suffix:
        main = main.rename(main.with_name(main.name + suffix))
    if planned.single:
        assert main is not None
        planned.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        final = planned.folder / main.name
        report["files"] = [f"{final.name}.{name}" for name in ("README.md", "SHA256SUMS", "proof.json")] + [final.name]
        for name in ("README.md", "SHA256SUMS", "proof.json"):
            (part / name).replace(planned.folder / f"{final.name}.{name}")
        main.replace(final)
        part.rmdir()
        return final, size
    place = planned.folder.with_name(planned.folder.name + suffix)
    old = part.with_name(part.name + ".old")
    if place.exists():
        place.rename(old)
    part.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return (place / main.name if main else place), size


@contextlib.contextmanager
def _begun(work: Work, planned: Planned) -> Iterator[tuple[int, Path]]:
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
                step=work.step,
                path=store.home.relative(planned.path),
            )
            part = listing.part_of(planned.folder, export.id)
            stack.enter_context(_locked(store, export.id, part))
        yield export.id, part


@contextlib.contextmanager
def _locked(store: Store, export_id: int, part: Path) -> Iterator[None]:
    """Hold the export's lock file, which names what to sweep up, while it is being made."""
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


def _advice(store: Store, run: Run, target: Target) -> str:
    """The nearest smaller loss that holds: one that this run has proven, else the next better quant."""
    order = list(service.QUANTS)
    proven = {e.quant for e in exports.all_exports(store, run.name) if e.state == "done" and e.proof.get("checks")}
    better = [quant for quant in order[: order.index(target.quant)] if quant] if target.quant in order else []
    near = next((quant for quant in reversed(better) if quant in proven), None)
    if near:
        return f"{near} of this run held its proof: export that, or the adapter (--to gguf-adapter)."
    return "Try --quant q8_0, or --to gguf-adapter, which changes no weight of the base."


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sentence(error: BaseException) -> str:
    if isinstance(error, TuningforkError):
        return str(error)
    return "It was cancelled." if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


def _full(error: BaseException, planned: Planned) -> NoSpace | None:
    """A disk that filled up meanwhile, told as such."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not full:
        return None
    todo = "Free some space and try again; nothing half-made was left behind."
    return NoSpace("The disk filled up during the export.", where=str(planned.folder), todo=todo)
