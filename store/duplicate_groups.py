"""Duplicates to decide on one by one: groups with how alike their pairs are, keeping one, merging, telling them apart.
Which pairs are a group is decided in dedupe.py; what is no duplicate is remembered in review.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from store import datasets, dedupe, pairs, review
from store.curate import duplicates
from store.db import Store
from store.dedupe import Deduped, DuplicateGroup
from store.edits import recording
from store.errors import BadInput, Conflict
from store.records import SPLITS, Pair, Split

LARGEST_APART = 100
"""Pairs of a group that can be told apart from each other at once: each couple of them is a row."""

Couples = list[tuple[str, str]]
"""Couples of uids, each in order."""


@dataclass(frozen=True, slots=True)
class SimilarGroup:
    """Pairs that look alike, the one that `dedupe` would keep first.

    `alike` is for each pair the share of its text that it has in common with the first (0 to 1), so the first is 1.
    `exact` says that all have the same text.
    """

    pairs: tuple[Pair, ...]
    alike: tuple[float, ...]
    exact: bool

    @property
    def least(self) -> float:
        """The smallest share of common text with the first."""
        return min(self.alike)


@dataclass(frozen=True, slots=True)
class Merged:
    """What `merge` did: tags and datasets that the kept pair got, and how many others were deleted."""

    tags: tuple[str, ...]
    datasets: tuple[str, ...]
    deleted: int


def find(store: Store, dataset: str, near: float | None = None) -> list[SimilarGroup]:
    """The groups that `dedupe.find` finds: those with the same text first, then the near ones, the most alike first."""
    groups = [_group((found.kept, *found.others)) for found in dedupe.find(store, dataset, near)]
    return sorted(groups, key=lambda group: (not group.exact, -group.least, group.pairs[0].id))


def _group(members: tuple[Pair, ...]) -> SimilarGroup:
    same = duplicates.exact(members)
    if len(same) == 1 and len(same[0]) == len(members):
        return SimilarGroup(members, (1.0,) * len(members), exact=True)
    sets = [duplicates.shingles(f"{pair.question}\n{pair.answer}") for pair in members]
    return SimilarGroup(members, tuple(duplicates.likeness(sets[0], each) for each in sets), exact=False)


def without(group: SimilarGroup, uid: str) -> SimilarGroup | None:
    """The group without one of its pairs; None when only one would be left."""
    members = tuple(pair for pair in group.pairs if pair.uid != uid)
    return _group(members) if len(members) > 1 else None


def keep(store: Store, dataset: str, group: SimilarGroup, uid: str, *, actor: str = "user") -> Deduped:
    """Keeps this pair of a group and drops the others, as one edit.

    As in `dedupe.remove`, those that are in other datasets too are only taken out of this one. Conflict when one of
    the pairs was changed or deleted since it was read.
    """
    with store.write():
        kept, others = _parted(store, group, uid)
        homes = {pair.uid: [name for name, _ in datasets.of(store, pair.uid) if name != dataset] for pair in others}
        shared = {other: names for other, names in homes.items() if names}
        return dedupe.remove(store, dataset, [DuplicateGroup(kept, others, shared)], actor=actor)


def merge(store: Store, group: SimilarGroup, uid: str, *, actor: str = "user") -> Merged:
    """Gives this pair the tags of the whole group, puts it into their datasets, and deletes the others, as one edit.

    Where it is in a dataset already it keeps its split; in one that it joins it gets the split of those that were
    there, train before val before test. Conflict as in `keep`.
    """
    with store.write(), recording(store, "merge duplicates", actor):
        kept, others = _parted(store, group, uid)
        tags = tuple(dict.fromkeys(tag for pair in (kept, *others) for tag in pair.tags))
        pairs.edit(store, uid, actor=actor, tags=tags)
        known = {name for name, _ in datasets.of(store, uid)}
        joins: dict[str, Split] = {}
        for name, split in (home for pair in others for home in datasets.of(store, pair.uid)):
            if name not in known:
                joins[name] = min(split, joins.get(name, split), key=SPLITS.index)
        for name, split in sorted(joins.items()):
            datasets.add(store, name, [uid], split, actor=actor)
        deleted = pairs.delete(store, [pair.uid for pair in others], actor)
        return Merged(tags[len(kept.tags) :], tuple(sorted(joins)), deleted)


def _parted(store: Store, group: SimilarGroup, uid: str) -> tuple[Pair, list[Pair]]:
    """The pair that stays and the others, when all are as they were read."""
    now = {pair.id: pair for pair in pairs.page(store, [pair.id for pair in group.pairs])}
    for pair in group.pairs:
        there = now.get(pair.id)
        if there is None or there.deleted_at is not None or there.revision != pair.revision:
            what = f"The pair {pair.uid} was changed or deleted meanwhile."
            raise Conflict(what, todo="Look at the group again, then repeat your decision.")
    kept = next(pair for pair in group.pairs if pair.uid == uid)
    return kept, [pair for pair in group.pairs if pair.uid != uid]


def tell_apart(store: Store, uid: str, others: Sequence[str]) -> Couples:
    """Says that one pair is no duplicate of any of the others. Returns the couples of which that is new."""
    with store.write():
        known = review.apart(store)
        for other in others:
            review.keep_apart(store, [uid, other])
        return sorted(review.apart(store) - known)


def tell_all_apart(store: Store, uids: Sequence[str]) -> Couples:
    """Says that no two of these pairs are duplicates. Returns the couples of which that is new.

    BadInput for more than `LARGEST_APART` pairs.
    """
    if len(uids) > LARGEST_APART:
        what = f"The group has {len(uids):,} pairs; at most {LARGEST_APART} can be told apart at once."
        raise BadInput(what, todo="Raise the threshold, so that the group falls into smaller ones.")
    with store.write():
        known = review.apart(store)
        review.keep_apart(store, uids)
        return sorted(review.apart(store) - known)


def forget(store: Store, couples: Couples) -> None:
    """Takes back what was said of exactly these couples."""
    with store.write():
        for couple in couples:
            review.forget_apart(store, couple)
