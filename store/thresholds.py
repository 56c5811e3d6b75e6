"""How many duplicates each threshold of likeness would find in a dataset, before one is chosen.
Reads only; what is near is decided in curate/duplicates.py."""

from __future__ import annotations

from dataclasses import dataclass

from store import datasets, review
from store.curate import duplicates
from store.db import Store

THRESHOLDS = tuple(n / 100 for n in range(50, 101, 5))
"""0.5, 0.55 … 1.0: the shares of common text that are counted."""


@dataclass(frozen=True, slots=True)
class ThresholdCount:
    """What one threshold finds: groups, the pairs in them, and `duplicates`, the pairs beyond one of each group."""

    threshold: float
    groups: int
    pairs: int

    @property
    def duplicates(self) -> int:
        """The pairs that would go if one of each group stayed."""
        return self.pairs - self.groups


def histogram(store: Store, dataset: str) -> list[ThresholdCount]:
    """What `dedupe.find` would find in a dataset at each of `THRESHOLDS`, the lowest first.

    What is near at a higher threshold is near at a lower one too, so each group lies inside a group of the threshold
    below: only the pairs of those are compared again, and the dataset is gone through once.

        0.50   {a b c d} {e f}     all pairs were compared
        0.55   {a b} {c d} {e f}   a b c d among themselves, and e f
        0.60   {a b} {e f}         a b, c d and e f
    """
    listed = [pair for pair, _ in datasets.members(store, dataset, status=None) if pair.status != "rejected"]
    by_uid = {pair.uid: pair for pair in listed}
    apart = review.apart(store)
    counts, groups = [], [list(by_uid)]
    for threshold in THRESHOLDS:
        groups = [group for whole in groups for group in duplicates.near([by_uid[uid] for uid in whole], threshold)]
        parts = [part for group in groups for part in review.parted(group, apart)]
        counts.append(ThresholdCount(threshold, len(parts), sum(map(len, parts))))
    return counts
