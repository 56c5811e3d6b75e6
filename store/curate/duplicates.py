"""Duplicates: pairs that say the same, nearly the same, or answer the same question differently.
Exact set arithmetic, no sampling: the same pairs give the same groups, whatever their order."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from store.curate.findings import Judged

_WORD = re.compile(r"\w+")


def normal(text: str) -> str:
    """`text` as comparisons see it: its words, case-folded, one space apart."""
    return " ".join(_WORD.findall(text.casefold()))


def exact(pairs: Iterable[Judged]) -> list[list[str]]:
    """Groups of uids whose system, question and answer have the same words, the first one first."""
    return _groups(pairs, lambda pair: (normal(pair.system), normal(pair.question), normal(pair.answer)))


def conflicts(pairs: Iterable[Judged]) -> list[list[str]]:
    """Groups of uids that ask the same but answer differently."""
    pairs = list(pairs)
    answers = {pair.uid: normal(pair.answer) for pair in pairs}
    asked = _groups(pairs, lambda pair: (normal(pair.system), normal(pair.question)))
    return [group for group in asked if len({answers[uid] for uid in group}) > 1]


def _groups(pairs: Iterable[Judged], key: Callable[[Judged], tuple[str, ...]]) -> list[list[str]]:
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for pair in pairs:
        found[key(pair)].append(pair.uid)
    return [group for group in found.values() if len(group) > 1]


def near(pairs: Sequence[Judged], threshold: float = 0.8) -> list[list[str]]:
    """Groups of uids whose question and answer share at least `threshold` (0 to 1) of their three-word shingles.

    Sharing is Jaccard's: common over all. A group is what such pairs connect, so its ends may be farther apart.
    """
    sets = [_shingles(f"{pair.question} {pair.answer}") for pair in pairs]
    same: dict[frozenset[str], list[int]] = defaultdict(list)
    for n, shingles in enumerate(sets):
        same[shingles].append(n)
    parent = list(range(len(pairs)))
    for twins in same.values():
        for n in twins[1:]:
            parent[n] = twins[0]
    for one, other in _close([twins[0] for twins in same.values()], sets, threshold):
        parent[_root(parent, max(one, other))] = _root(parent, min(one, other))
    found: dict[int, list[str]] = defaultdict(list)
    for n, pair in enumerate(pairs):
        found[_root(parent, n)].append(pair.uid)
    return [group for group in found.values() if len(group) > 1]


def _shingles(text: str) -> frozenset[str]:
    words = normal(text).split()
    return frozenset(" ".join(words[n : n + 3]) for n in range(max(1, len(words) - 2)))


def _close(chosen: list[int], sets: list[frozenset[str]], threshold: float) -> Iterable[tuple[int, int]]:
    """Every two of the chosen sets that are close: two that share enough share one of their rarest shingles."""
    often = Counter(shingle for n in chosen for shingle in sets[n])
    holders: dict[str, list[int]] = defaultdict(list)
    for n in sorted(chosen, key=lambda n: (len(sets[n]), n)):
        size = len(sets[n])
        rarest = sorted(sets[n], key=lambda shingle: (often[shingle], shingle))
        rare = rarest[: size - math.ceil(threshold * size) + 1]
        seen = {other for shingle in rare for other in holders[shingle] if len(sets[other]) >= threshold * size}
        for other in seen:
            common = len(sets[n] & sets[other])
            if common >= threshold * (size + len(sets[other]) - common):
                yield other, n
        for shingle in rare:
            holders[shingle].append(n)


def _root(parent: list[int], n: int) -> int:
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n
