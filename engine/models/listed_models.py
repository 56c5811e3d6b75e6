"""The list of models: what is in it, with the state of each, adding to it and removing from it.
References are refs's, preparing is prepare's; the store only remembers the models that were added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.models import inspection, refs
from engine.models.prepare import prepare
from engine.models.refs import Resolved
from store import models
from store.db import Store
from store.errors import Conflict, TuningforkError
from store.records import ModelKind

ModelState = Literal["ready", "to prepare", "remote", "broken"]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model. Of a broken one `about` says why, and the rest is not known; `added`: it can be removed from the list.

    `path` is the address of an endpoint, else where the weights lie.
    """

    ref: str
    kind: str | None
    state: ModelState
    about: str
    path: str | None = None
    adapter: str | None = None
    added: bool = False


def listed(store: Store) -> list[ListedModel]:
    """Every model that has a name here, best first as `refs.known` has them."""
    return [find(store, ref) for ref in refs.known(store)]


def find(store: Store, ref: str) -> ListedModel:
    """A model as the list shows it; raises nothing for one that is broken."""
    added = any(model.ref == ref for model in models.all_models(store))
    try:
        found = refs.resolve(store, ref)
    except TuningforkError as error:
        return ListedModel(ref, None, "broken", error.what, added=added)
    path = found.url or found.folder or found.gguf
    adapter = str(found.adapter) if found.adapter else None
    return ListedModel(
        found.ref, found.kind, _state(found), found.title, str(path) if path else None, adapter, added=added
    )


def _state(found: Resolved) -> ModelState:
    if found.kind == "endpoint":
        return "remote"
    return "ready" if found.folder is not None else "to prepare"


def add(
    store: Store,
    ref: str,
    on_line: Callable[[str], None] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> tuple[ListedModel, list[str]]:
    """Prepare a model and remember it: a hub model is downloaded, weights are prepared for training.

    Returns it, and what was found in it that is worth knowing. Raises Conflict for a run, what `prepare` raises, and
    what makes the model unusable. ChildStopped when `stopped` said so; the next try continues there.
    """
    parsed = refs.parse(ref)
    if parsed.kind == "run":
        raise Conflict(
            f"{ref} does not need to be added: every run is known by its name.", todo="See: tuningfork models list"
        )
    notes: list[str] = []
    if parsed.kind != "endpoint":
        folder: Path = prepare(store, ref, on_line, stopped)
        notes = [issue.what for issue in inspection.inspect(folder).require().issues]
    found = refs.resolve(store, ref)
    kinds: dict[str, ModelKind] = {"gguf": "gguf", "endpoint": "endpoint"}
    if found.kind != "embedded":
        kind: ModelKind = "adapter" if found.adapter is not None else kinds.get(found.kind, "base")
        models.upsert(store, found.ref, kind, {"title": found.title})
    return find(store, found.ref), notes


def remove(store: Store, ref: str) -> str:
    """Take a model from the list, by its reference in any form; its files stay. Returns the reference as it was listed.

    NotFound when it was not added.
    """
    names = {model.ref for model in models.all_models(store)}
    exact = ref if ref in names else str(refs.parse(ref))
    models.remove(store, exact)
    return exact
