"""A paragraph about a model, for a lane that has no answers yet.
Reads the store in a thread of the bridge; knows no widget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.models import default_model, refs
from store import datasets, exports, runs
from store.db import Store
from store.errors import TuningforkError
from tui import formatting


def about(store: Store, models: Sequence[str]) -> dict[str, str]:
    """A paragraph on each model reference."""
    return {ref: _about(store, ref, alone=len(models) == 1) for ref in models}


def _about(store: Store, ref: str, *, alone: bool) -> str:
    named = refs.Ref.read(ref)
    if named.is_run:
        return _run(store, named)
    if named.is_endpoint:
        return "A model behind another server. It gets the same prompts and the same sampling."
    if named.is_file:
        return _file(store, Path(ref))
    known = "The model that comes with Tuningfork" if ref == default_model.NAME else "A model"
    plain = f"{known}, without any tuning."
    return f"{plain}\n\nThere is no tuned model beside it yet: F3 tunes one, and + adds a lane." if alone else plain


def _file(store: Store, file: Path) -> str:
    made = next((e for e in exports.all_exports(store) if store.home.absolute(e.path) in (file, file.parent)), None)
    if made is None:
        return "A GGUF file. It answers as it does in other programs."
    return f"The export of {made.run} as {made.quant or made.format}: does the file answer as the run did?"


def _run(store: Store, ref: refs.Ref) -> str:
    try:
        run = runs.get(store, ref.value)
        snapshot = datasets.snapshot(store, run.snapshot)
    except TuningforkError as error:
        return error.what
    at = f" at step {ref.step}" if ref.step is not None else f", {formatting.count(run.step, 'step')}"
    rows = f"{formatting.count(snapshot.rows, 'row')} of {snapshot.dataset or 'a snapshot'}"
    if str(ref) in refs.followed(store, [str(ref)]):
        return f"{run.base}, being tuned on {rows} right now: its newest checkpoint answers each prompt."
    age = formatting.ago(run.ended_at or run.created_at)
    return f"{run.base} tuned on {rows}{at}, {'just now' if age == 'now' else age + ' ago'}."
