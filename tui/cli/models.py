"""`tuningfork models`: the models that can be chatted with and tuned, and adding more.
References are engine.models.refs's; the store only remembers those that were added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from store.errors import Conflict, TuningforkError
from tui.cli.command import Group
from tui.cli.options import MODEL
from tui.cli.output import Progress, emit, emit_json, say, table
from tui.cli.session import session

if TYPE_CHECKING:
    from engine.models.refs import Resolved
    from store.db import Store
    from store.records import ModelKind


@click.group(
    cls=Group,
    example="""
    tuningfork models list
    tuningfork models add ./my-model
    """,
)
def models() -> None:
    """Models: the default model, tuned runs, and those you add.

    A model reference is smollm2-135m, run:NAME or run:NAME@STEP, a folder, a .gguf file, org/name on the Hugging Face
    hub, or http://host:port/v1#model for any server that speaks the OpenAI API.
    """


@models.command("list", example="tuningfork models list --json")
def list_() -> None:
    """List the models that have a name here. Folders, files and endpoints also work without being added."""
    from engine.models import refs

    store = session().store
    rows = [_row(store, ref) for ref in refs.known(store)]
    if session().as_json:
        emit_json(rows)
    else:
        table(
            ("ref", "kind", "state", "about"),
            [(r["ref"], r["kind"], r["state"], r["about"]) for r in rows],
            wide="about",
        )


def _row(store: Store, ref: str) -> dict[str, Any]:
    from engine.models import refs

    try:
        found = refs.resolve(store, ref)
    except TuningforkError as error:
        return {"ref": ref, "kind": None, "state": "broken", "about": error.what, "path": None, "adapter": None}
    return {"ref": found.ref, "kind": found.kind, "state": _state(found), "about": found.title, **_places(found)}


def _state(found: Resolved) -> str:
    if found.kind == "endpoint":
        return "remote"
    return "ready" if found.folder is not None else "to prepare"


def _places(found: Resolved) -> dict[str, Any]:
    path = found.url or found.folder or found.gguf
    return {"path": str(path) if path else None, "adapter": str(found.adapter) if found.adapter else None}


@models.command(
    "add",
    example="""
    tuningfork models add ./my-model
    tuningfork models add http://127.0.0.1:11434/v1#llama3.2
    tuningfork models add org/name            (fetches it from the Hugging Face hub)
    """,
)
@click.argument("ref", type=MODEL)
def add(ref: str) -> None:
    """Add a model and prepare it: a hub model is downloaded, weights are prepared for training."""
    from engine.models import inspection, refs
    from engine.training import run_control
    from store import models as kept

    store = session().store
    parsed = refs.parse(ref)
    if parsed.kind == "run":
        raise Conflict(
            f"{ref} does not need to be added: every run is known by its name.", todo="See: tuningfork models list"
        )
    if parsed.kind != "endpoint":
        session().on_interrupt = "The next try continues where this one stopped."
        with Progress(f"Preparing {ref}") as progress:

            def on_line(line: str) -> None:
                progress.clear()
                say(line)

            folder = run_control.prepare(store, ref, on_line=on_line)
        for issue in inspection.inspect(folder).require().issues:
            say(issue.what)
    found = refs.resolve(store, ref)
    kinds: dict[str, ModelKind] = {"gguf": "gguf", "endpoint": "endpoint"}
    if found.kind != "embedded":
        kind: ModelKind = "adapter" if found.adapter is not None else kinds.get(found.kind, "base")
        kept.upsert(store, found.ref, kind, {"title": found.title})
    if session().as_json:
        emit_json(_row(store, found.ref))
    else:
        emit(f"{found.ref} is ready." if found.kind != "endpoint" else f"{found.ref} was added.")


@models.command("rm", example="tuningfork models rm ./my-model")
@click.argument("ref", type=MODEL)
def rm(ref: str) -> None:
    """Remove a model from the list. Its files stay where they are."""
    from engine.models import refs
    from store import models as kept

    store = session().store
    names = {model.ref for model in kept.all_models(store)}
    exact = ref if ref in names else str(refs.parse(ref))
    kept.remove(store, exact)
    if session().as_json:
        emit_json({"removed": exact})
    else:
        emit(f"{exact} was removed from the list; its files stay.")
