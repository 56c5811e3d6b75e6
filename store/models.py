"""Registered models, by model reference.
What a reference means is decided in engine.models; here it is a name with a kind and facts."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, get_args

from store.canon import canonical
from store.db import Store, now
from store.errors import BadInput, NotFound
from store.records import Model, ModelKind


def upsert(store: Store, ref: str, kind: ModelKind, meta: dict[str, Any] | None = None) -> Model:
    """Registers a model, or replaces the kind and facts of a known one."""
    if kind not in get_args(ModelKind):
        raise BadInput(
            f"{kind!r} is not a kind of model.", where="kind", todo=f"Use one of: {', '.join(get_args(ModelKind))}."
        )
    if not ref.strip():
        raise BadInput(
            "The model reference is empty.", where="model", todo="Name a model, a folder, a file or an address."
        )
    with store.write() as conn:
        conn.execute(
            "INSERT INTO model (ref, kind, meta, created_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (ref) DO UPDATE SET kind = excluded.kind, meta = excluded.meta",
            (ref, kind, canonical(meta or {}), now()),
        )
        return get(store, ref)


def get(store: Store, ref: str) -> Model:
    """The registered model of this reference. NotFound names those that are registered."""
    row = store.row("SELECT * FROM model WHERE ref = ?", (ref,))
    if row is None:
        known = ", ".join(model.ref for model in all_models(store)[:10])
        raise NotFound(
            f"No model {ref!r} is registered.",
            todo=f"Registered: {known}." if known else "Add one: tuningfork models add REF",
        )
    return _model_from(row)


def all_models(store: Store) -> list[Model]:
    """Every registered model, by reference."""
    return [_model_from(row) for row in store.rows("SELECT * FROM model ORDER BY ref")]


def remove(store: Store, ref: str) -> None:
    """Forgets a model; files stay where they are."""
    with store.write() as conn:
        conn.execute("DELETE FROM model WHERE id = ?", (get(store, ref).id,))


def _model_from(row: sqlite3.Row) -> Model:
    return Model(row["id"], row["ref"], row["kind"], json.loads(row["meta"]), row["created_at"])
