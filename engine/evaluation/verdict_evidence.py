"""The evidence of a verdict as a JSON file: what was decided, on which figures, and hashes of all that it is about. It
is written whole, read back strictly, and compared with what is there now.

It lies in the run's folder, the newest of each checkpoint and strength, and wherever else it is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.core.files import read_json, write_json
from engine.evaluation import evaluating
from engine.evaluation.gates import Gates
from engine.evaluation.verdict import Decision, VerdictFigures, decide
from engine.evaluation.verdict_parts import VerdictPlan
from engine.models import refs
from engine.models.refs import Ref
from store import datasets, evaluations, runs
from store.db import Store, now
from store.errors import BadInput, Conflict, UserError
from store.records import Run

FORMAT, VERSION = "tuningfork-verdict", 1
_TODO = "Make it again: tuningfork verdict run:NAME"


@dataclass(frozen=True, slots=True)
class VerdictEvidence:
    """A verdict that was kept. `body` is the file's JSON."""

    body: dict[str, Any]

    @property
    def model(self) -> str:
        """The run, checkpoint and strength that it is about."""
        return str(self.body["run"]["model"])

    @property
    def figures(self) -> VerdictFigures:
        return VerdictFigures.from_json(self.body["figures"])

    @property
    def gates(self) -> Gates:
        return Gates.from_json(self.body["gates"])

    @property
    def decision(self) -> Decision:
        """Decided again, from the figures and gates that the file holds."""
        return decide(self.figures, self.gates)


def make(
    store: Store, made: VerdictPlan, figures: VerdictFigures, where: Mapping[str, int], notes: Sequence[str]
) -> VerdictEvidence:
    """The evidence of a plan whose parts were measured. `where` names the evaluation of each part."""
    run, gates = made.run, made.request.gates
    decision = decide(figures, gates)
    dataset = next((each for each in made.wanted if each.snapshot is not None), None)
    return VerdictEvidence({
        "format": FORMAT,
        "version": VERSION,
        "verdict": decision.word,
        "ship": decision.ship,
        "made_at": now(),
        "run": {
            "name": run.name if run else None, "uid": run.uid if run else None, "model": str(made.ref),
            "identity": _identity(store, str(made.ref)), "config_hash": run.config_hash if run else None,
            "snapshot": run.snapshot if run else None,
        },
        "against": {"model": made.against, "identity": _identity(store, made.against)},
        "data": None if dataset is None else {
            "dataset": dataset.request.dataset, "split": dataset.request.split, "snapshot": dataset.snapshot,
        },
        "gates": gates.to_json(),
        "gates_hash": gates.hash(),
        "results": [asdict(each) for each in decision.results],
        "figures": figures.to_json(),
        "evaluations": dict(where),
        "notes": list(notes),
    })  # fmt: skip


def keep(store: Store, evidence: VerdictEvidence, out: Path | None = None, *, force: bool = False) -> list[Path]:
    """Write the evidence into the run's folder, and to `out` if it is given; returns the paths. Of a model that is no
    run it is only kept in `out`. Conflict when that is there and `force` is not given."""
    ref = Ref.read(evidence.model)
    places = []
    if ref.is_run:
        folder = store.home.run_dir(runs.get(store, ref.value).uid)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        places.append(folder / _name(ref))
    if out is not None:
        check_out(out, force)
        places.append(out.expanduser())
    for place in places:
        write_json(place, evidence.body)
    return places


def check_out(out: Path, force: bool) -> None:
    """Conflict when the file is there and may not be replaced; BadInput when its folder is not there."""
    path = out.expanduser()
    if path.exists() and not force:
        raise Conflict("The file is there already.", where=str(path), todo="Add --force to replace it.")
    if not path.parent.is_dir():
        raise BadInput("There is no such folder.", where=str(path.parent), todo="Make it, or name another file.")


def read(path: Path) -> VerdictEvidence:
    """Read an evidence file. BadInput for what is none, or one whose verdict does not follow from its figures."""
    body = read_json(path, todo=_TODO)
    if body.get("format") != FORMAT:
        raise BadInput("This is not the evidence of a verdict.", where=str(path), todo=_TODO)
    if body.get("version") != VERSION:
        what = f"This evidence has the version {body.get('version')}, which this Tuningfork does not read."
        raise BadInput(what, where=str(path), todo=_TODO)
    found = VerdictEvidence(body)
    try:
        decision = found.decision
        for part in ("run", "against"):
            _ = body[part]["model"], body[part]["identity"]
        _ = body["run"]["config_hash"], body["run"]["snapshot"], body["evaluations"], body["data"], body["notes"]
        same = body["ship"] == decision.ship and body["results"] == [asdict(each) for each in decision.results]
        same = same and body["verdict"] == decision.word and body["gates_hash"] == found.gates.hash()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise BadInput("This evidence is not complete.", where=str(path), todo=_TODO) from None
    if not same:
        raise BadInput("The verdict in this file does not follow from its figures.", where=str(path), todo=_TODO)
    return found


def changes(store: Store, evidence: VerdictEvidence) -> list[str]:
    """Sentences on what is no longer as it was when the verdict was made; empty when everything is."""
    body, found = evidence.body, list[str]()
    if body["run"]["name"] is not None:
        gone, found = _run_changes(store, body["run"])
        if gone:
            return [gone]
    for key, what in (("run", "The weights of"), ("against", "The weights it was compared with,")):
        model = body[key]["model"]
        try:
            same = _identity(store, model) == body[key]["identity"]
        except UserError as error:
            found.append(f"{model} cannot be used any more: {error.what}")
            continue
        if not same:
            found.append(f"{what} {model} have changed." if key == "run" else f"{what} {model}, have changed.")
    if (data := body["data"]) is not None:
        found += _data_changes(store, data)
    for part, number in body["evaluations"].items():
        with contextlib.suppress(UserError):
            if evaluations.get(store, number).report is not None:
                continue
        found.append(f"Evaluation {number}, with the answers to {part}, is gone.")
    return found


def _run_changes(store: Store, mine: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Why the run is not the one of the evidence at all, or else what of it has changed."""
    try:
        run = runs.get(store, mine["name"])
    except UserError:
        return f"The run {mine['name']} is gone.", []
    if run.uid != mine["uid"]:
        return f"The run {mine['name']} is another one of that name.", []
    found = []
    if run.config_hash != mine["config_hash"]:
        found.append(f"The configuration of {run.name} has changed.")
    if run.snapshot != mine["snapshot"]:
        found.append(f"{run.name} was trained on another snapshot.")
    return "", found


def newest(store: Store, run: Run, model: str) -> VerdictEvidence | None:
    """The evidence on `model`, a reference of this run, if its weights and what they were compared with are still the
    same; None where there is none, or it cannot be read."""
    path = store.home.run_dir(run.uid) / _name(Ref.read(model))
    if not path.is_file():
        return None
    try:
        found = read(path)
        if found.body["run"]["identity"] != _identity(store, model) or found.model != model:
            return None
    except UserError:
        return None
    return found


def _data_changes(store: Store, data: Mapping[str, Any]) -> list[str]:
    """Whether the split that was asked is still what it was: its rows, whatever happened to the other splits."""
    name, split = data["dataset"], data["split"]
    try:
        before = [row.content_hash for row in datasets.snapshot_rows(store, data["snapshot"], split)]
        if datasets.ready_hashes(store, name, split) == sorted(before):
            return []
    except UserError as error:
        return [f"The dataset {name} cannot be compared: {error.what}"]
    return [f"The rows of {name} in the {split} split have changed."]


def _identity(store: Store, model: str) -> str:
    return evaluating.identity(refs.resolve(store, model))


def _name(ref: Ref) -> str:
    """`verdict.json`, `verdict-step40.json`, `verdict-x0.7.json`."""
    step = f"-step{ref.step}" if ref.step is not None else ""
    strength = f"-x{ref.strength:g}" if ref.strength is not None else ""
    return f"verdict{step}{strength}.json"
