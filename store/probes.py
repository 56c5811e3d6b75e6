"""Probe sets: questions with what a good answer must and must not contain.
Asking and judging are in the engine."""

from __future__ import annotations

import json
from collections.abc import Iterable

from store.canon import canonical
from store.datasets import near
from store.db import Store
from store.errors import BadInput, NotFound
from store.names import check_name
from store.records import Probe


def put_set(store: Store, name: str, probes: Iterable[Probe]) -> int:
    """Keeps a probe set, in place of one of the same name.

    Returns how many probes it has; BadInput when there are none, or a question is empty.
    """
    rows = [
        (name, n, p.question, p.system, canonical(list(p.must)), canonical(list(p.must_not)))
        for n, p in enumerate(probes)
    ]
    check_name(name, "probe set")
    if not rows:
        raise BadInput("A probe set needs at least one probe.", where=f"probe set {name}", todo="Add a question.")
    for row in rows:
        if not row[2].strip():
            raise BadInput(
                "The question is empty.", where=f"probe set {name}, probe {row[1] + 1}", todo="Write a question."
            )
    with store.write() as conn:
        conn.execute("DELETE FROM probe WHERE set_name = ?", (name,))
        conn.executemany(
            "INSERT INTO probe (set_name, ord, question, system, must, must_not) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
    return len(rows)


def get_set(store: Store, name: str) -> list[Probe]:
    """The probes of a set, in order. NotFound suggests similar names."""
    rows = store.rows("SELECT * FROM probe WHERE set_name = ? ORDER BY ord", (name,))
    if not rows:
        todo = near(name, list(sets(store)), "probe set", "tuningfork probe --model REF --probes FILE")
        raise NotFound(f"There is no probe set {name!r}.", todo=todo)
    return [
        Probe(name, row["question"], tuple(json.loads(row["must"])), tuple(json.loads(row["must_not"])), row["system"])
        for row in rows
    ]


def sets(store: Store) -> dict[str, int]:
    """The names of all sets and how many probes each has."""
    return {row[0]: row[1] for row in store.rows("SELECT set_name, count(*) FROM probe GROUP BY 1 ORDER BY 1")}


def remove_set(store: Store, name: str) -> None:
    """Removes a probe set; evaluations made with it stay."""
    with store.write() as conn:
        get_set(store, name)
        conn.execute("DELETE FROM probe WHERE set_name = ?", (name,))
