"""`tuningfork models`: the models that can be chatted with and tuned, and adding more.
The list is engine.models.listed_models's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tui.cli.command import Group
from tui.cli.options import MODEL
from tui.cli.output import Progress, emit, emit_json, say, table
from tui.cli.session import session

if TYPE_CHECKING:
    from engine.models.listed_models import ListedModel


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
    from engine.models import listed_models

    rows = [_row(each) for each in listed_models.listed(session().store)]
    if session().as_json:
        emit_json(rows)
    else:
        table(
            ("ref", "kind", "state", "about"),
            [(r["ref"], r["kind"], r["state"], r["about"]) for r in rows],
            wide="about",
        )


def _row(model: ListedModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in ("ref", "kind", "state", "about", "path", "adapter")}


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
    from engine.models import listed_models

    session().on_interrupt = "The next try continues where this one stopped."
    with Progress(f"Preparing {ref}") as progress:

        def on_line(line: str) -> None:
            progress.clear()
            say(line)

        model, notes = listed_models.add(session().store, ref, on_line)
    for note in notes:
        say(note)
    if session().as_json:
        emit_json(_row(model))
    else:
        emit(f"{model.ref} was added." if model.state == "remote" else f"{model.ref} is ready.")


@models.command("rm", example="tuningfork models rm ./my-model")
@click.argument("ref", type=MODEL)
def rm(ref: str) -> None:
    """Remove a model from the list. Its files stay where they are."""
    from engine.models import listed_models

    exact = listed_models.remove(session().store, ref)
    if session().as_json:
        emit_json({"removed": exact})
    else:
        emit(f"{exact} was removed from the list; its files stay.")
