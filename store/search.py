"""Finding pairs among many and reading them a page at a time: what lists and search-as-you-type stand on.
Reads only; answers are lists of ids, so that a list of 100,000 costs one query and a page another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from store import datasets, search_text
from store.db import Store
from store.records import Kind, Pair, Split, Status
from store.rows import pair_from


def search_ids(
    store: Store,
    text: str = "",
    *,
    dataset: str | None = None,
    status: Status | None = None,
    kind: Kind | None = None,
    split: Split | None = None,
    conditions: Sequence[tuple[str, Sequence[Any]]] = (),
) -> list[int]:
    """Ids of the live pairs that match, newest first.

    Every word of `text` must begin a word of the pair (question, answer, system text, earlier turns), "quoted words"
    stand side by side, signs match as typed, and text of a language without spaces is found anywhere (search_text.py).
    `conditions` are SQL about the pair `p`, each with the values of its question marks (query.py).
    """
    tables, where = ["pair p INDEXED BY pair_live"], ["p.deleted_at IS NULL"]
    params: list[Any] = []
    match = search_text.expression(text)
    if match is not None:
        tables.insert(0, "pair_fts f")
        where += ["f.rowid = p.id", "pair_fts MATCH ?"]
        params.append(match)
    if dataset is not None:
        tables.append("dataset_pair d")
        where += ["d.dataset_id = ?", "d.pair_id = p.id"]
        params.append(datasets.get_id(store, dataset))
    if split is not None:
        if dataset is None:
            where.append("p.id IN (SELECT pair_id FROM dataset_pair WHERE split = ?)")
        else:
            where.append("d.split = ?")
        params.append(split)
    for column, value in (("status", status), ("kind", kind)):
        if value is not None:
            where.append(f"p.{column} = ?")
            params.append(value)
    for sql, values in conditions:
        where.append(sql)
        params += values
    if (
        match is not None and len(where) == 3
    ):  # nothing but text: the few deleted pairs are looked up, not the many live ones
        dead = "SELECT id FROM pair INDEXED BY pair_deleted WHERE deleted_at IS NOT NULL"
        return store.column(
            f"SELECT rowid FROM pair_fts WHERE pair_fts MATCH ? AND rowid NOT IN ({dead}) ORDER BY rowid DESC", (match,)
        )
    return store.column(
        f"SELECT p.id FROM {' CROSS JOIN '.join(tables)} WHERE {' AND '.join(where)} ORDER BY p.id DESC", params
    )


def uids(store: Store, ids: Sequence[int]) -> list[str]:
    """The uids of the live pairs with these ids, in the order given."""
    sql = "SELECT p.uid FROM json_each(?) j CROSS JOIN pair p ON p.id = j.value AND p.deleted_at IS NULL ORDER BY j.key"
    return store.column(sql, (as_json(ids),))


def as_json(values: Iterable[int] | Iterable[str]) -> str:
    """Ids or uids as the one value that `json_each` makes a table of: SQL without a limit on how many."""
    return json.dumps(list(values))


def asking(store: Store, question: str, limit: int = 200) -> list[Pair]:
    """Live pairs in which the beginning of a question stands, the newest first: those that may ask the same."""
    match = search_text.beginning(question)
    sql = (
        "SELECT p.* FROM pair_fts f CROSS JOIN pair p ON p.id = f.rowid WHERE pair_fts MATCH ?"
        " AND p.deleted_at IS NULL ORDER BY f.rowid DESC LIMIT ?"
    )
    return [pair_from(row) for row in store.rows(sql, (match, limit))] if match else []


def page(store: Store, ids: Sequence[int]) -> list[Pair]:
    """The pairs with these ids, in the order given.

    One that was deleted since the search comes with `deleted_at` set.
    """
    sql = "SELECT p.* FROM json_each(?) j CROSS JOIN pair p ON p.id = j.value ORDER BY j.key"
    return [pair_from(row) for row in store.rows(sql, (json.dumps(list(ids)),))]


def count(store: Store, dataset: str | None = None) -> int:
    """How many live pairs there are, in all or in a dataset."""
    if dataset is None:
        return int(store.scalar("SELECT count(*) FROM pair WHERE deleted_at IS NULL"))
    sql = (
        "SELECT count(*) FROM dataset_pair d JOIN pair p ON p.id = d.pair_id AND p.deleted_at IS NULL WHERE"
        " d.dataset_id = ?"
    )
    return int(store.scalar(sql, (datasets.get_id(store, dataset),)))
