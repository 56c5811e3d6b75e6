"""Finding pairs among many and reading them a page at a time: what lists and search-as-you-type stand on.
Reads only; answers are lists of ids, so that a list of 100,000 costs one query and a page another."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from store import datasets, search_text
from store.db import Store
from store.records import Kind, Pair, Split, Status
from store.rows import pair_from

Condition = tuple[str, Sequence[Any]]
"""SQL about the pair `p` that is true or false, never NULL, and the values of its question marks."""

_LOOK = 1_000
"""How many of the newest pairs `first_ids` looks through before it asks the index."""
_RARE = 0.1
"""The share of pairs up to which a phrase is rare."""
_MATCHES: Condition = ("f.rowid = p.id", ())
_HAS_SPLIT = "EXISTS (SELECT 1 FROM dataset_pair m WHERE m.pair_id = p.id AND m.split = ?)"


def search_ids(
    store: Store,
    text: str = "",
    *,
    dataset: str | None = None,
    status: Status | None = None,
    kind: Kind | None = None,
    split: Split | None = None,
    conditions: Sequence[Condition] = (),
) -> list[int]:
    """Ids of the live pairs that match, newest first.

    Every word of `text` must begin a word of the pair (question, answer, system text, earlier turns), "quoted words"
    stand side by side, signs match as typed, and text of a language without spaces is found anywhere (search_text.py).
    `conditions` are SQL about the pair `p`, each with the values of its question marks (query.py).
    """
    match = search_text.expression(text)
    tables, where = _narrowed(store, dataset, status, kind, split, conditions)
    if match is not None and not where:  # the few deleted pairs are looked up, not the many live ones
        dead = "SELECT id FROM pair INDEXED BY pair_deleted WHERE deleted_at IS NOT NULL"
        return store.column(
            f"SELECT rowid FROM pair_fts WHERE pair_fts MATCH ? AND rowid NOT IN ({dead}) ORDER BY rowid DESC", (match,)
        )
    tables = ["pair p INDEXED BY pair_live", *tables]
    where = [("p.deleted_at IS NULL", ()), *where]
    if match is not None:
        tables, where = ["pair_fts f", *tables], [_MATCHES, ("pair_fts MATCH ?", (match,)), *where]
    return store.column(*_select("p.id", tables, where))


def first_ids(
    store: Store,
    text: str = "",
    *,
    limit: int,
    dataset: str | None = None,
    status: Status | None = None,
    kind: Kind | None = None,
    split: Split | None = None,
    conditions: Sequence[Condition] = (),
    fits: Callable[[sqlite3.Row, str], bool] | None = None,
) -> list[int]:
    """The first `limit` ids that `search_ids` finds, and of these pairs only those that also `fits`: it gets the texts
    of a pair (system, history, question, answer) and what the index holds of them.

    The index has to read all of a common word, or of all words with a beginning, before it gives one pair; but pairs
    that have it are then among the newest. So the newest are looked through first. When too few of them match, the
    index is asked for those phrases that are rare among them, and the pairs it gives are looked through for the others.
    """
    wanted = search_text.phrases(text)
    tables, where = _narrowed(store, dataset, status, kind, split, conditions)
    where = [("p.deleted_at IS NULL", ()), *where]
    if not wanted and fits is None:
        sql, values = _select("p.id", ["pair p INDEXED BY pair_live", *tables], where)
        return store.column(f"{sql} LIMIT ?", [*values, limit])
    what = "p.id, p.system, p.history, p.question, p.answer"
    newest = "SELECT id FROM pair INDEXED BY pair_live WHERE deleted_at IS NULL ORDER BY id DESC LIMIT ?"
    bound = store.scalar(f"SELECT min(id) FROM ({newest})", (_LOOK,)) or 0
    found: list[int] = []
    seen, often = 0, [0] * len(wanted)
    near = [*where, ("p.id >= ?", (bound,))] if wanted else where
    for row in store.each(*_select(what, ["pair p", *tables], near)):
        body = search_text.indexed_pair(row["system"], row["history"], row["question"], row["answer"])
        held = search_text.holds(body, wanted)
        seen += 1
        often = [n + has for n, has in zip(often, held, strict=True)]
        if all(held) and (fits is None or fits(row, body)):
            found.append(row["id"])
            if len(found) == limit:
                return found
    if not wanted:
        return found
    rare = [phrase for phrase, n in zip(wanted, often, strict=True) if n <= seen * _RARE] or wanted
    common = [phrase for phrase in wanted if phrase not in rare]
    far = [
        _MATCHES, ("pair_fts MATCH ?", (search_text.expression_of(rare),)), ("f.rowid < ?", (bound,)), *where,
    ]  # fmt: skip
    for row in store.each(*_select(what, ["pair_fts f", "pair p", *tables], far, "f.rowid")):
        body = search_text.indexed_pair(row["system"], row["history"], row["question"], row["answer"])
        if all(search_text.holds(body, common)) and (fits is None or fits(row, body)):
            found.append(row["id"])
            if len(found) == limit:
                break
    return found


def _narrowed(
    store: Store,
    dataset: str | None,
    status: Status | None,
    kind: Kind | None,
    split: Split | None,
    conditions: Sequence[Condition],
) -> tuple[list[str], list[Condition]]:
    """What a search is limited to besides its text: the tables to join to the pair `p`, and the conditions."""
    tables: list[str] = []
    where: list[Condition] = []
    if dataset is not None:
        tables.append("dataset_pair d")
        where += [("d.dataset_id = ?", (datasets.get_id(store, dataset),)), ("d.pair_id = p.id", ())]
    if split is not None:
        member = "d.split = ?" if dataset is not None else _HAS_SPLIT
        where.append((member, (split,)))
    for column, value in (("status", status), ("kind", kind)):
        if value is not None:
            where.append((f"p.{column} = ?", (value,)))
    return tables, [*where, *conditions]


def _select(what: str, tables: Sequence[str], where: Sequence[Condition], order: str = "p.id") -> tuple[str, list[Any]]:
    """A query for pairs, newest first, with its values."""
    sql = f"SELECT {what} FROM {' CROSS JOIN '.join(tables)} WHERE {' AND '.join(sql for sql, _ in where)}"
    return f"{sql} ORDER BY {order} DESC", [value for _, values in where for value in values]


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


def highest_id(store: Store) -> int:
    """The highest id that a pair has, 0 without one: about how many there are, without counting them."""
    return int(store.scalar("SELECT max(id) FROM pair") or 0)


def count(store: Store, dataset: str | None = None) -> int:
    """How many live pairs there are, in all or in a dataset."""
    if dataset is None:
        return int(store.scalar("SELECT count(*) FROM pair WHERE deleted_at IS NULL"))
    sql = (
        "SELECT count(*) FROM dataset_pair d JOIN pair p ON p.id = d.pair_id AND p.deleted_at IS NULL WHERE"
        " d.dataset_id = ?"
    )
    return int(store.scalar(sql, (datasets.get_id(store, dataset),)))
