"""Duplicates of a dataset: which copy of each group is kept, and removing the others as one edit.
What is a duplicate is decided in curate/duplicates.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store import datasets, pairs, review
from store.curate import duplicates
from store.db import Store
from store.edits import recording
from store.records import SPLITS, Pair, Split


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Pairs with the same text. `kept` is the best copy; `elsewhere` maps the uids of others that are in more datasets
    than the one that was looked at to the names of those.
    """

    kept: Pair
    others: list[Pair]
    elsewhere: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Deduped:
    """What `remove` did: how many pairs it deleted, and how many it only took out of the dataset, because they are in
    others too.
    """

    deleted: int
    taken_out: int


def find(store: Store, dataset: str, near: float | None = None) -> list[DuplicateGroup]:
    """The duplicates among a dataset's pairs that are not rejected; with `near` (0 to 1) also near ones.

    Of each group the copy is kept that is ready rather than a draft, in train rather than val or test, and the oldest.
    Pairs that you said are no duplicates of each other (review.py) are in no group together.
    """
    found = [(p, split) for p, split in datasets.members(store, dataset, status=None) if p.status != "rejected"]
    by_uid = {pair.uid: (pair, split) for pair, split in found}
    listed = [pair for pair, _ in found]
    groups = duplicates.near(listed, near) if near else duplicates.exact(listed)
    apart = review.apart(store)
    parts = [part for group in groups for part in review.parted(group, apart)]
    return [_group(store, dataset, [by_uid[uid] for uid in part]) for part in parts]


def _group(store: Store, dataset: str, members: list[tuple[Pair, Split]]) -> DuplicateGroup:
    (kept, _), *others = sorted(members, key=lambda m: (m[0].status != "ready", SPLITS.index(m[1]), m[0].id))
    elsewhere = {}
    for pair, _ in others:
        names = [name for name, _ in datasets.of(store, pair.uid) if name != dataset]
        if names:
            elsewhere[pair.uid] = names
    return DuplicateGroup(kept, sorted((pair for pair, _ in others), key=lambda pair: pair.id), elsewhere)


def remove(
    store: Store, dataset: str, groups: Sequence[DuplicateGroup], *, everywhere: bool = False, actor: str = "user"
) -> Deduped:
    """Deletes all but the kept pair of each group, as one edit.

    Pairs that are in other datasets too are only taken out of this one, unless `everywhere` is set.
    """
    shared: set[str] = set() if everywhere else {uid for group in groups for uid in group.elsewhere}
    doomed = [pair.uid for group in groups for pair in group.others]
    alone = [uid for uid in doomed if uid not in shared]
    with recording(store, f"remove duplicates from {dataset}", actor):
        deleted = pairs.delete(store, alone, actor)
        taken_out = datasets.drop(store, dataset, sorted(shared)) if shared else 0
    return Deduped(deleted, taken_out)
