"""What a request would make: which step of the run, which files, how large, and whether they can be made at all.
Light, and read by both halves: the process that asks for an export, and the one that makes it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from engine.export import quant_mix, targets
from engine.export.request import AUTO, Request, Target
from engine.models import refs
from engine.models.refs import Ref, Resolved, SavedState
from engine.training.config import TrainConfig
from engine.training.methods import METHODS
from store import exports, runs
from store.db import Store
from store.errors import BadInput, Conflict, NoSpace, Unsupported
from store.files import check_inside, target_of
from store.names import check_name
from store.records import Run

SPARE_BYTES = 64 << 20
BESIDE = ("README.md", "SHA256SUMS", "proof.json")
"""What every export has besides what was asked for."""
REJECTED = ".rejected"
"""How the name of an export ends that failed its verification."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The run and the step to export (None: the final weights), why that one, and where the model's files are; and at
    what strength (None: the run's own)."""

    run: Run
    step: int | None
    why: str
    model: Resolved
    strength: float | None = None

    @property
    def name(self) -> str:
        """How its files begin: `ember`, `ember-step40`, `ember-x0.7`."""
        strength = f"-x{self.strength:g}" if self.strength is not None else ""
        return self.folder + (f"-step{self.step}" if self.step is not None else "") + strength

    @property
    def folder(self) -> str:
        """The run's folder under exports: its name, or for a run whose name is no name of a folder (from an earlier
        version, which allowed `..` and slashes) its uid."""
        try:
            return check_name(self.run.name, "run", folder=True)
        except BadInput:
            return f"run-{self.run.uid}"


@dataclass(frozen=True, slots=True)
class Planned:
    """A target before it is made. `path` is what will be its file or folder, `bytes` an estimate of its size,
    `scratch_bytes` what is needed besides; `kl` how far (mean KL divergence, nats) the last verified export of this
    base and quant was from the run; `taken` says that something is there already. `single`: one GGUF file at a path of
    the user's choice, without a folder of its own. `mostly` is what will really be in it, see quant_mix."""

    target: Target
    path: Path
    folder: Path
    bytes: int
    scratch_bytes: int
    kl: float | None
    taken: bool
    single: bool = False
    mostly: str = ""

    @property
    def place(self) -> Path:
        """What is replaced: the file of the user's choice, else the folder."""
        return self.path if self.single else self.folder

    @property
    def title(self) -> str:
        """`gguf q4_k_m (mostly Q5_0)`: with what is really in it, where that is not what the quant is named after."""
        return self.target.title + (f" ({self.mostly})" if self.mostly else "")


def select(store: Store, text: str) -> Selection:
    """The step of `NAME`, `NAME@STEP` or `NAME*STRENGTH` that is exported.

    Without a step it is the checkpoint that you made the run's result; else the one with the lowest validation loss,
    when losses were measured; else the final weights. Raises BadInput, and what `refs.resolve` raises.
    """
    asked = refs.parse_run(text, strength=True)
    run = runs.get(store, asked.value)
    step, why = (asked.step, f"step {asked.step}, as asked") if asked.step is not None else _best(store, run)
    if asked.strength is not None:
        why += f", at {asked.strength:g} times its strength"
    chosen = selection(store, run.name, step, why, asked.strength)
    return replace(chosen, why=f"{why}, {chosen.model.weights}") if chosen.model.weights else chosen


def selection(store: Store, name: str, step: int | None, why: str, strength: float | None = None) -> Selection:
    """A step that was selected before, with its files as they are now."""
    model = refs.resolve(store, str(Ref.run(name, step, strength)))
    return Selection(runs.get(store, name), Ref.read(model.ref).step, why, model, strength)


def _best(store: Store, run: Run) -> tuple[int | None, str]:
    """Step and reason: of the saved states that are as they were saved the one that you made the run's result, else the
    one with the lowest validation loss; without losses the newest."""
    states = refs.saved_states(store, run)
    sound = [state for state in states if state.damage is None]
    if not sound:
        return None, "the final weights"  # resolving them says what is wrong
    found = runs.metrics(store, run.id, ["val_loss"])
    losses = {m.step: m.value for m in found if m.value is not None and m.step <= run.step}
    losses |= {c.step: c.val_loss for c in runs.checkpoints(store, run.id) if c.val_loss is not None}
    bad = "".join(f"; {state.title} is damaged ({state.damage})" for state in states if state.damage)
    if run.result_step is not None and sound[0].step == run.result_step:
        return run.result_step, f"step {run.result_step}, which you made its result"

    def loss_of(state: SavedState) -> float | None:
        return losses.get(run.step if state.step is None else state.step)

    measured = [(loss, state) for state in sound if (loss := loss_of(state)) is not None]
    if not measured or len(losses) == 1:  # nothing to compare
        newest = sound[0]
        return newest.step, ("the final weights" if newest.step is None else f"step {newest.step}, its newest") + bad
    loss, best = min(measured, key=lambda pair: pair[0])  # of equal ones the newest, which comes first
    name = "the final weights" if best.step is None else f"step {best.step}"
    figure = "" if best.step is None else f" ({loss:.3f})"
    lowest = min(losses, key=lambda at: losses[at])
    if losses[lowest] >= loss:
        return best.step, f"{name}, where the validation loss was lowest{figure}{bad}"
    lower = f"it was lower at step {lowest} ({losses[lowest]:.3f}), of which no checkpoint can be used"
    return best.step, f"{name}, with the lowest validation loss of what was saved ({loss:.3f}; {lower}){bad}"


def plan(store: Store, request: Request, chosen: Selection | None = None) -> list[Planned]:
    """What the request would make, and how large. `chosen` is its run's selection, if it is known.

    Raises BadInput for a target or path that cannot be, and what `select` raises.
    """
    if not request.targets:
        raise BadInput("No target was named.", todo=f"Choose from {', '.join(targets.REGISTRY)}.")
    for target in request.targets:
        targets.get(target.format).check_quant(target.quant)
        if target.quant == AUTO and not request.verify:
            raise BadInput(
                "The quant auto is chosen by verifying each one.", where="--quant auto", todo="Leave --no-verify out."
            )
    chosen = chosen or select(store, request.run)
    _refuse_impossible(request, chosen.run)
    known = _known_kl(store, chosen.run.base)
    return [_planned(store, request, target, chosen, known) for target in dict.fromkeys(request.targets)]


def _refuse_impossible(request: Request, run: Run) -> None:
    """Raise Unsupported for a target that the run's method cannot be written to."""
    try:
        config = TrainConfig.from_json(run.config)
    except BadInput:
        return  # of another version; what cannot be made of it is found out while it is made
    method = METHODS.get(config.method)
    possible = method.exports(config) if method else tuple(targets.REGISTRY)
    named = {name for each in METHODS.values() for name in each.exports(config)}  # a target that was added is no one's
    for target in request.targets:
        if target.format in named and target.format not in possible:
            raise Unsupported(
                f"A run of the method {config.method} cannot be written as {target.format}"
                + ("" if set(possible) - {"adapter"} else ": it changes no weight of its base")
                + ".",
                where=f"run {run.name}",
                todo=f"Choose {' or '.join(possible)}.",
            )


def _planned(
    store: Store, request: Request, target: Target, chosen: Selection, known: dict[str, float | None]
) -> Planned:
    kind = targets.get(target.format)
    stem = kind.stem(target.quant)
    file = f"{chosen.name}-{stem}.gguf" if kind.one_file else None
    out, single = request.out and _real(request.out), False
    if out is None:
        folder = store.home.exports / chosen.folder / f"{chosen.name}-{stem}"
        check_inside(folder.parent, store.home.exports)
    elif out.suffix.lower() == ".gguf":
        if file is None or len(request.targets) > 1:
            raise BadInput(f"{out.name} names one GGUF file.", where="--out", todo="Give a folder instead.")
        folder, file, single = out.parent, out.name, True
    else:  # as cp does: into a folder that is there, else as that folder
        into = len(request.targets) > 1 or (out.is_dir() and not (out / "proof.json").is_file())
        folder = out / f"{chosen.name}-{stem}" if into else out
    path = folder / file if file else folder
    return Planned(
        target=target,
        path=path,
        folder=folder,
        bytes=kind.size(chosen.model, target.quant),
        scratch_bytes=kind.scratch_size(chosen.model, target.quant),
        kl=known.get(target.quant) if target.quant else None,
        taken=path.exists() if single else folder.exists(),
        single=single,
        mostly=quant_mix.mostly(quant_mix.expected(chosen.model, target.quant), target.quant) if target.quant else "",
    )


def _real(out: Path) -> Path:
    """Where --out leads. BadInput for `-`, and for a link that leads to itself."""
    if str(out) == "-":
        raise BadInput(
            "An export is several files, which cannot go to the output of the program.",
            where="--out",
            todo="Name a folder, or one .gguf file; a folder called - is ./-",
        )
    try:
        return out.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"It cannot be used: {error}.", where=f"--out {out}", todo="Name another place.") from None


def _known_kl(store: Store, base: str) -> dict[str, float | None]:
    """By quant, the mean KL of the newest verified export of this base."""
    found: dict[str, float | None] = {}
    for made in exports.all_exports(store):
        if made.quant and made.quant not in found and made.verification.get("base") == base:
            kl = made.verification.get("kl")
            found[made.quant] = float(kl) if kl is not None else None
    return found


# ---------------------------------------------------------------- what is refused before anything is written


def check(planned: list[Planned], *, overwrite: bool) -> None:
    """Raise Conflict for a place that is taken, NoSpace where the disk has too little room: before minutes of work."""
    for each in planned:
        check_place(each, overwrite)
    for each in planned:
        _check_space(each)


def check_place(planned: Planned, overwrite: bool) -> None:
    """Raise Conflict when something is there and may not be replaced. What is not an export never is: another folder,
    a file where a folder goes, a link, a device."""
    _check_parent(planned.folder.parent)
    if planned.single:
        _check_file(planned, overwrite)
        return
    for place in (planned.folder, planned.folder.with_name(planned.folder.name + REJECTED)):
        if not place.is_symlink() and not place.exists():
            continue
        if place.is_symlink() or not (place / "proof.json").is_file():
            what = "is a link" if place.is_symlink() else "is not an export"
            raise Conflict(
                f"{place.name} {what}, so it is not replaced.", where=str(place), todo="Choose another --out."
            )
        if place == planned.folder and not overwrite:
            raise _taken(place)


def _check_file(planned: Planned, overwrite: bool) -> None:
    """The same for one GGUF file at a path of the user's choice, and for what is written beside it."""
    target_of(planned.path)
    _check_parent(planned.folder)
    for place in (planned.path, *(planned.folder / name for name in beside(planned.path.name))):
        if place.is_symlink() or (place.exists() and not place.is_file()):
            raise Conflict(
                f"{place.name} is not a plain file, so it is not replaced.",
                where=str(place),
                todo="Choose another --out.",
            )
        if place.exists() and not overwrite:
            raise _taken(place)


def beside(name: str) -> tuple[str, ...]:
    """The names of the files that are written beside one GGUF file."""
    return tuple(f"{name}.{end}" for end in BESIDE)


def _check_parent(folder: Path) -> None:
    """Raise Conflict when a file is where a folder is needed."""
    there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
    if not there.is_dir():
        raise Conflict(f"{there.name} is not a folder.", where=str(there), todo="Choose another --out.")


def _taken(place: Path) -> Conflict:
    todo = "Choose another --out, or give --overwrite to replace it."
    return Conflict(f"{place.name} already exists.", where=str(place), todo=todo)


def _check_space(planned: Planned) -> None:
    place = next(path for path in (planned.folder, *planned.folder.parents) if path.exists())
    needed = planned.bytes + planned.scratch_bytes + SPARE_BYTES
    free = shutil.disk_usage(place).free
    if free < needed:
        raise NoSpace(
            f"{planned.target.title} needs {needed / 1e6:.0f} MB; {free / 1e6:.0f} MB are free.",
            where=str(place),
            todo="Free some space, or choose another place with --out.",
        )
