"""Splitting pairs into train, val and test so that no question stands on both sides, nor one nearly equal to it.
Pure: the same questions and seed give the same splits on every machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from store.canon import sha256
from store.curate.duplicates import near_groups, normal
from store.records import Split

NEAR = 0.8
"""Questions that share this much of their shingles are nearly equal: the same as `data dedupe --near 0.8` finds."""
_FIRST: tuple[Split, ...] = ("test", "val", "train")


def assign(
    questions: Sequence[str],
    *,
    val: float,
    test: float = 0.0,
    seed: int = 0,
    fixed: Sequence[Split | None] | None = None,
) -> list[Split]:
    """One split for each question; `fixed` gives those that are not to be moved.

    Equal and nearly equal questions get the same split: that of a fixed one among them (test before val before train),
    else a place that depends on their words and the seed alone, so adding questions moves only those nearly equal to
    them. The fractions `val` and `test` are of what is not fixed, and hold on average. In a small set no wanted split
    is empty while a question can be spared; train never is. Fixed ones that are nearly equal to each other stay where
    they are, on both sides if they were.
    """
    given = list(fixed) if fixed is not None else [None] * len(questions)
    groups = near_groups(questions, NEAR)
    members: dict[int, list[int]] = defaultdict(list)
    for n, group in enumerate(groups):
        members[group].append(n)
    wanted: dict[int, Split] = {}
    place: dict[int, float] = {}
    for group, those in members.items():
        pinned = {given[n] for n in those}
        for split in _FIRST:
            if split in pinned:
                wanted.setdefault(group, split)
        if group not in wanted:
            key = min(normal(questions[n]) for n in those)
            place[group] = int(sha256(f"{seed}:{key}")[:13], 16) / 16**13
    free: dict[int, Split] = {
        group: "test" if at < test else "val" if at < test + val else "train"
        for group, at in sorted(place.items(), key=lambda item: item[1])
    }
    used = {*wanted.values(), *(split for split in given if split)}
    _fill_empty(free, {"test": test, "val": val}, used)
    return [given[n] or wanted.get(group) or free[group] for n, group in enumerate(groups)]


def _fill_empty(free: dict[int, Split], fractions: dict[Split, float], used: set[Split]) -> None:
    """Gives a wanted split that came out empty one group of train, and train one group if it has none."""
    for split, fraction in fractions.items():
        spare = [group for group in free if free[group] == "train"]
        enough = len(spare) + ("train" in used) > 1
        if fraction > 0 and split not in used and split not in free.values() and spare and enough:
            free[spare[0]] = split
    if free and "train" not in used and "train" not in free.values():
        free[list(free)[-1]] = "train"
