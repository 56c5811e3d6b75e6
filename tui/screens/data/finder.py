"""What the Data screen asks the store: which pairs, and those around the cursor, in one call.
Runs in a thread of the bridge; knows no widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store import datasets, pairs, query, search
from store.db import Store
from store.records import Dataset, Kind, Pair, Split, Status

WINDOW = 64
"""Pairs read on either side of the cursor together with the list, so that a new list never shows empty rows."""

_GLANCE_S = 0.25
MANY = 20_000
"""With so many pairs the first of a list are shown before the whole of it was found."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to list. None means: any."""

    text: str = ""
    dataset: str | None = None
    status: Status | None = None
    kind: Kind | None = None

    @property
    def narrowed(self) -> bool:
        """True when something besides the dataset limits the list."""
        return bool(self.text.strip() or self.status or self.kind)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer. `at` is the row of the wanted pair; `near` the pairs around it; `total` counts all live pairs."""

    query: Query
    ids: list[int]
    at: int
    near: list[Pair]
    datasets: list[Dataset]
    total: int


@dataclass(frozen=True, slots=True)
class Glance:
    """The first of what matches: ids, the pairs, and the row of the wanted one."""

    ids: list[int]
    near: list[Pair]
    at: int


def glance(store: Store, wanted: Query, want_id: int | None = None) -> Glance | None:
    """The first screen of a long list, at once; None when the whole list comes as quickly, or nothing matches.

    None too when it takes long, as for a filter that only few pairs fit: then there is nothing to see before.

    BadQuery points to what is wrong with the text.
    """
    if search.highest_id(store) < MANY or (wanted.dataset is not None and not datasets.exists(store, wanted.dataset)):
        return None
    limits = {"dataset": wanted.dataset, "status": wanted.status, "kind": wanted.kind}
    try:
        with store.within(_GLANCE_S):
            ids = query.first_ids(store, wanted.text, limit=WINDOW, **limits)  # type: ignore[arg-type]
    except TimeoutError:
        return None
    if not ids:
        return None
    return Glance(ids, pairs.page(store, ids), ids.index(want_id) if want_id in ids else 0)


def find(store: Store, wanted: Query, want_id: int | None = None, want_at: int = 0) -> Found:
    """List what matches. The cursor belongs on `want_id`, or at `want_at` when that pair is no longer listed.

    BadQuery points to what is wrong with the text.
    """
    known = datasets.all_datasets(store)
    if wanted.dataset is not None and all(wanted.dataset != each.name for each in known):
        wanted = Query(wanted.text, None, wanted.status, wanted.kind)  # the dataset was removed
    ids = query.search_ids(store, wanted.text, dataset=wanted.dataset, status=wanted.status, kind=wanted.kind)
    at = min(want_at, max(0, len(ids) - 1))
    if want_id is not None and want_id in ids:
        at = ids.index(want_id)
    near = pairs.page(store, ids[max(0, at - WINDOW) : at + WINDOW])
    return Found(wanted, ids, at, near, known, pairs.count(store))


def page(store: Store, ids: Sequence[int]) -> list[Pair]:
    """The pairs with these ids."""
    return pairs.page(store, ids)


def completion(store: Store, text: str) -> str | None:
    """What the search text may become, if it can be completed."""
    return next(iter(query.completions(store, text)), None)


def homes(store: Store, uid: str) -> list[tuple[str, Split]]:
    """The datasets that a pair is in, with its split in each."""
    return datasets.of(store, uid)


def uids(store: Store, ids: Sequence[int]) -> list[str]:
    """The uids of pairs by id, for what acts on a selection."""
    return search.uids(store, ids)
