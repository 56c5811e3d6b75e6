"""Chooses what answers in a lane: a known or typed model reference, or examples of a dataset for the base.
Asks the store what there is; loads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.inference import few_shot
from engine.models import default_model, refs
from store import datasets, runs
from store.db import Store
from store.errors import TuningforkError
from tui import formatting
from tui.screens.dialogs.pick import Entry, Pick
from tui.services import AppServices

if TYPE_CHECKING:
    from engine.inference.few_shot import FewShot

HINT = "Or type a folder, a .gguf file, org/name, run:NAME@STEP or http://host:port/v1#model."


def entries(store: Store, *, base_only: bool = False) -> list[Entry]:
    """The known models with a note on each; `base_only` leaves out what cannot be tuned."""
    known = refs.known(store)
    ages = {run.name: formatting.ago(run.ended_at or run.created_at) for run in runs.all_runs(store)}
    notes = {str(refs.Ref.run(name)): f"tuned, {age}" for name, age in ages.items()}
    notes |= {ref: f"live, now at step {step}" for ref, step in refs.followed(store, known).items()}
    out = []
    for ref in known:
        if base_only and not refs.Ref.read(ref).can_be_base:
            continue
        out.append(Entry(ref, ref, "comes with Tuningfork" if ref == default_model.NAME else notes.get(ref, "added")))
    return out


async def pick_model(app: AppServices, title: str, current: str, *, base_only: bool = False) -> str | None:
    """Let the user choose; the reference in its normal form, or None. Call it from a worker.

    A run that is still training stays `run:NAME`, so that a lane follows its newest checkpoint.
    """
    known = await app.bridge.call(entries, base_only=base_only)
    picked = await app.push_screen_wait(Pick(title, known, current=current, create="Use", hint=HINT))
    if picked is None:
        return None
    try:
        await app.bridge.call(refs.resolve, picked.value)
        return str(refs.parse(picked.value))
    except TuningforkError as error:
        app.notify_error(error)
        return None


async def pick_examples(app: AppServices) -> FewShot | None:
    """Let the user choose a dataset, and how many of its pairs the base reads as examples. Call it from a worker."""
    known = [
        Entry(d.name, d.name, formatting.count(d.pairs, "pair")) for d in await app.bridge.call(datasets.all_datasets)
    ]
    if not known:
        app.notify("There is no dataset to take examples from. Press F2 to create one.", severity="warning")
        return None
    of = await app.push_screen_wait(Pick("Examples from which dataset?", known, current=app.settings.dataset or ""))
    if of is None:
        return None
    numbers = [Entry(str(n), formatting.count(n, "example")) for n in (1, 2, 4, 8, 16, few_shot.MOST)]
    picked = await app.push_screen_wait(Pick("How many, before each prompt?", numbers, current=str(few_shot.SHOTS)))
    return await app.bridge.call(few_shot.of, of.value, int(picked.value)) if picked else None
