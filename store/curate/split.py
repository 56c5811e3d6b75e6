"""Splitting pairs into train, val and test so that no question stands on both sides, nor one nearly equal to it.
Pure: the same questions and seed give the same splits on every machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

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


def assign_by_quota(
    questions: Sequence[str],
    *,
    val: float,
    test: float = 0.0,
    seed: int = 0,
    fixed: Sequence[Split | None] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> list[Split]:
    """Like `assign`, but as many as were asked for, and in the same shares from every stratum.

    `val` and `test` are fractions below 1 or whole numbers from 1 on. `strata` says for each question to what it
    belongs, such as its kind; the largest remainders decide which strata give one more (Hamilton's method). Within a
    stratum the groups of nearly equal questions go, in the order of their places, to test, then val, while they fit: so
    a count is missed only where a group is larger than what is left. Adding questions may move others.

    Six of kind A and four of kind B, val=5: the quotas are 3.0 and 2.0, so three of A and two of B go to val. With
    val=3 they are 1.8 and 1.2: one each, and the one that is left to A, whose remainder is larger.
    """
    given = list(fixed) if fixed is not None else [None] * len(questions)
    groups = near_groups(questions, NEAR)
    members: dict[int, list[int]] = defaultdict(list)
    for n, group in enumerate(groups):
        members[group].append(n)
    chosen: dict[int, Split] = {}
    by_stratum: dict[Hashable, list[tuple[float, int]]] = defaultdict(list)
    for group, those in members.items():
        pinned = {given[n] for n in those}
        strongest: Split | None = next((split for split in _FIRST if split in pinned), None)
        if strongest is not None:
            chosen[group] = strongest
        else:
            key = min(normal(questions[n]) for n in those)
            place = int(sha256(f"{seed}:{key}")[:13], 16) / 16**13
            by_stratum[strata[those[0]] if strata else None].append((place, group))
    sizes = {stratum: sum(len(members[group]) for _, group in those) for stratum, those in by_stratum.items()}
    quotas = {split: _quotas(sizes, share) for split, share in (("test", test), ("val", val))}
    for stratum, placed in by_stratum.items():
        left: dict[Split, int] = {"test": quotas["test"][stratum], "val": quotas["val"][stratum]}
        for _, group in sorted(placed):
            size = len(members[group])
            split: Split = next((name for name, n in left.items() if size <= n), "train")
            if split != "train":
                left[split] -= size
            chosen[group] = split
    return [given[n] or chosen[group] for n, group in enumerate(groups)]


def _quotas(sizes: dict[Hashable, int], share: float) -> dict[Hashable, int]:
    """How many each stratum gives: a fraction of it, or its part of a count; whole numbers that add up."""
    total = sum(sizes.values())
    wanted = round(total * share) if share < 1 else min(int(share), total)
    exact = {stratum: wanted * size / total for stratum, size in sizes.items()} if total else {}
    quotas = {stratum: int(part) for stratum, part in exact.items()}
    for stratum in sorted(exact, key=lambda s: (quotas[s] - exact[s], str(s)))[: wanted - sum(quotas.values())]:
        quotas[stratum] += 1
    return quotas


def _fill_empty(free: dict[int, Split], fractions: dict[Split, float], used: set[Split]) -> None:
    """Gives a wanted split that came out empty one group of train, and train one group if it has none."""
    for split, fraction in fractions.items():
        spare = [group for group in free if free[group] == "train"]
        enough = len(spare) + ("train" in used) > 1
        if fraction > 0 and split not in used and split not in free.values() and spare and enough:
            free[spare[0]] = split
    if free and "train" not in used and "train" not in free.values():
        free[list(free)[-1]] = "train"
