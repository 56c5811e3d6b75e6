"""Duplicates: pairs with the same text, nearly the same text, or that answer the same question differently.
Exact set arithmetic, no sampling: the same pairs give the same groups, whatever their order."""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store import search_text
from store.curate.findings import PairLike

_MARK = "[.,;:!?…。、，；：！？]"
_MARKS = re.compile(rf"{_MARK}(?<=(?:[^\W\d_]|[\u0900-\u0dff\u0e00-\u109f]){_MARK}){_MARK}*(?=\s|$)")
"""Sentence marks after a letter, at the end of a word: all that a comparison leaves out beside case and spaces. Written
with a mark first, which makes looking for it ten times as fast."""
_NUMBER = re.compile(r"\d[\d.,:/-]*")
_COUNTED_EXACTLY = 300_000
_PLACES = 16_777_213
"""A prime number: shingles that differ in one word are spread over the places."""
_COUNTING_SIGNS = frozenset("#%&*/@\\^|~<>=+$")


class _Widths(dict[int, str]):
    """For `str.translate`: full-width and half-width forms as the usual ones; every other character as it is."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        wide = unicodedata.decomposition(char).startswith(("<wide>", "<narrow>"))
        self[code] = unicodedata.normalize("NFKC", char) if wide else char
        return self[code]


_WIDTHS = _Widths()


def normal(text: str) -> str:
    """`text` as comparisons see it: in one case, Unicode form and width, without sentence marks at the ends of words.

    Every other sign counts: C++ is not C#, 1.5 is not 1-5, x² is not x2. So do lines and their indentation, which mean
    something in code; spaces inside and at the end of a line do not.
    """
    if not text:
        return text
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_WIDTHS))
    text = _MARKS.sub("", text.casefold())
    lines = text.splitlines()
    if len(lines) == 1:  # most texts: no indentation to keep
        return " ".join(text.split())
    return "\n".join([spaced for line in lines if (spaced := _spaced(line))]).strip()


def _spaced(line: str) -> str:
    """A line with one space between its words, and its indentation as it is; "" for one of spaces alone."""
    words = " ".join(line.split())
    if not words or not line[0].isspace():
        return words
    return line[: len(line) - len(line.lstrip())] + words


_ALONE = ("", ())
"""The place of most questions: one for all of them."""


def _place(pair: PairLike) -> Hashable:
    """What a question means depends on: the system text and the earlier turns."""
    if not pair.system and not pair.history:
        return _ALONE
    return normal(pair.system), tuple((turn.role, normal(turn.content)) for turn in pair.history)


@dataclass(frozen=True, slots=True)
class NormalPair:
    """A pair in `normal` form: what several comparisons of the same pairs need, worked out once."""

    uid: str
    place: Hashable
    question: str
    answer: str


def normal_pairs(pairs: Iterable[PairLike]) -> list[NormalPair]:
    """Every pair in `normal` form."""
    return [NormalPair(pair.uid, _place(pair), normal(pair.question), normal(pair.answer)) for pair in pairs]


def exact(pairs: Iterable[PairLike]) -> list[list[str]]:
    """Groups of uids with the same text: system text, earlier turns, question and answer are equal in `normal` form."""
    return _groups((pair.uid, (_place(pair), normal(pair.question), normal(pair.answer))) for pair in pairs)


def exact_among(pairs: Iterable[NormalPair]) -> list[list[str]]:
    """The groups that `exact` gives."""
    return _groups((pair.uid, (pair.place, pair.question, pair.answer)) for pair in pairs)


def conflicts(pairs: Iterable[PairLike]) -> list[list[str]]:
    """Groups of uids that ask the same (in `normal` form, after the same turns) but answer differently."""
    return conflicts_among(normal_pairs(pairs))


def conflicts_among(pairs: Sequence[NormalPair]) -> list[list[str]]:
    """The groups that `conflicts` gives."""
    answers = {pair.uid: pair.answer for pair in pairs}
    return [group for group in same_question_among(pairs) if len({answers[uid] for uid in group}) > 1]


def same_question_among(pairs: Iterable[NormalPair]) -> list[list[str]]:
    """Groups of uids that ask the same (in `normal` form, after the same turns), whatever they answer."""
    return _groups((pair.uid, (pair.place, pair.question)) for pair in pairs)


def _groups(keyed: Iterable[tuple[str, Hashable]]) -> list[list[str]]:
    found: dict[Hashable, list[str]] = defaultdict(list)
    for uid, key in keyed:
        found[key].append(uid)
    return [group for group in found.values() if len(group) > 1]


def near(pairs: Sequence[PairLike], threshold: float = 0.8) -> list[list[str]]:
    """Groups of uids whose question and answer share at least `threshold` (0 to 1) of their shingles (`shingles`).

    Sharing is Jaccard's: common over all. A group is what such pairs connect, so its ends may be farther apart. Pairs
    with other system texts or earlier turns are never near, nor are those whose numbers or signs differ (`signature`):
    "2 + 3" shares nearly all with "2 - 3".
    """
    texts = [f"{pair.question}\n{pair.answer}" for pair in pairs]
    roots = near_groups(texts, threshold, apart=[_place(pair) for pair in pairs])
    return _groups((pair.uid, root) for pair, root in zip(pairs, roots, strict=True))


def near_groups(texts: Sequence[str], threshold: float, apart: Sequence[Hashable] | None = None) -> list[int]:
    """For each text the number of the first text of its group of near-equal ones; texts that differ in `apart`, or in
    their numbers and signs, are in different groups.
    """
    parts: dict[Hashable, list[int]] = defaultdict(list)
    for n, text in enumerate(texts):
        parts[(apart[n] if apart else None, signature(text))].append(n)
    parent = list(range(len(texts)))
    large = [part for part in parts.values() if len(part) > 1]
    sets = _numbered({n: texts[n] for part in large for n in part})
    for part in large:
        _join_near(parent, part, sets, threshold)
    return [_root(parent, n) for n in range(len(texts))]


def _join_near(parent: list[int], part: list[int], sets: Mapping[int, Sequence[int]], threshold: float) -> None:
    same: dict[Hashable, list[int]] = defaultdict(list)
    for n in part:
        same[tuple(sets[n])].append(n)
    for twins in same.values():
        for n in twins[1:]:
            _join(parent, twins[0], n)
    chosen = [twins[0] for twins in same.values()]
    same.clear()
    for one, other in _close(chosen, sets, threshold):
        _join(parent, one, other)


def _numbered(texts: Mapping[int, str]) -> dict[int, Sequence[int]]:
    """The `shingles` of each text as numbers in rising order, each standing for one shingle: a twentieth of the memory.

    The words are numbered from 1; a shingle is the numbers of its words as the digits of one number. With 2 bits for a
    word, "a b c" and "b c" of a text "a b c" are:

    >>> _numbered({7: "a b c"}), (1 << 4) + (2 << 2) + 3
    ({7: array('Q', [27])}, 27)
    """
    numbers: dict[str, int] = {}
    words = {
        n: array("L", [numbers.setdefault(t, len(numbers) + 1) for t in tokens(text)]) for n, text in texts.items()
    }
    bits = len(numbers).bit_length()
    found: dict[int, Sequence[int]] = {}
    for n in list(words):
        own = words.pop(n)
        if len(own) < 3:
            packed = {sum(number << bits * place for place, number in enumerate(reversed(own)))}
        else:
            packed = {
                one << 2 * bits | two << bits | three for one, two, three in zip(own, own[1:], own[2:], strict=False)
            }
        found[n] = array("Q", sorted(packed)) if 3 * bits <= 64 else sorted(packed)
    return found


def shingles(text: str) -> frozenset[str]:
    """Every three neighbouring tokens of `text`: words, or characters where a script writes no spaces between words.

    >>> sorted(shingles("How do I reset it?"))
    ['do i reset', 'how do i', 'i reset it']
    >>> sorted(shingles("怎么重置"))
    ['么 重 置', '怎 么 重']
    """
    found = tokens(text)
    return frozenset(" ".join(found[n : n + 3]) for n in range(max(1, len(found) - 2)))


def tokens(text: str) -> list[str]:
    """The words of a text, or its signs when it has no word."""
    found = search_text.cut(normal(text)).split()
    return [token for token in found if search_text.is_word(token)] or found


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """How alike the texts of two sets of shingles are, from 0 to 1: what they share, of all that they have (Jaccard).

    >>> likeness(shingles("How do I reset it?"), shingles("How do I reset it now?"))
    0.75
    """
    return len(one & other) / len(one | other)


def signature(text: str) -> tuple[tuple[str, int], ...]:
    """The numbers and the signs that carry meaning (operators, currencies, emoji) in `text`, each with its count."""
    text = normal(text)
    if text.isascii():
        signs = [char for char in text if char in _COUNTING_SIGNS]
    else:
        signs = [char for char in text if char in _COUNTING_SIGNS or unicodedata.category(char)[0] == "S"]
    return tuple(sorted(Counter([*signs, *_NUMBER.findall(text)]).items()))


def _close(chosen: list[int], sets: Mapping[int, Collection[Any]], threshold: float) -> Iterable[tuple[int, int]]:
    """Every two of the chosen sets whose Jaccard similarity is at least `threshold`, without comparing all with all.

    This is the prefix filter of AllPairs (Bayardo, Ma and Srikant, "Scaling Up All Pairs Similarity Search", WWW 2007).
    Sort each set by how rare its members are, the rarest first. Two sets x and y with |x ∩ y| / |x ∪ y| ≥ t share at
    least ⌈t·|x|⌉ members, so at most |x| − ⌈t·|x|⌉ members of x are missing from y: among the first
    |x| − ⌈t·|x|⌉ + 1 of x (its prefix) at least one is in y, and in the prefix of y too, since both are in one order.
    So only sets that share a member of their prefixes are compared.

    Three sets of five, t = 0.6: the prefix is 5 − ⌈3.0⌉ + 1 = 3 long.

        x  a b c d e     prefix b a c
        y  a c d e f     prefix f a c    shares a and c with x: compared. 4 common of 6: similarity 0.67, near
        z  d e g h i     prefix g h i    shares none: never compared. 2 common of 8: 0.25

    >>> sets = {0: frozenset("abcde"), 1: frozenset("acdef"), 2: frozenset("deghi")}
    >>> dict(prefixes([0, 1, 2], sets, 0.6, Counter("abcdeacdefdeghi").__getitem__))
    {0: ['b', 'a', 'c'], 1: ['f', 'a', 'c'], 2: ['g', 'h', 'i']}
    >>> list(_close([0, 1, 2], sets, 0.6))
    [(0, 1)]
    """
    often = _frequency(chosen, sets)
    holders: dict[Any, list[int]] = defaultdict(list)
    for n, prefix in prefixes(chosen, sets, threshold, often):
        shared = [shingle for shingle in prefix if often(shingle) > 1]  # what only one set has is found in no other
        members = frozenset(sets[n])
        size = len(members)
        seen = {other for shingle in shared for other in holders[shingle] if len(sets[other]) >= threshold * size}
        for other in sorted(seen):
            common = len(members.intersection(sets[other]))
            if common >= threshold * (size + len(sets[other]) - common):
                yield other, n
        for shingle in shared:
            holders[shingle].append(n)


def prefixes(
    chosen: list[int], sets: Mapping[int, Collection[Any]], threshold: float, often: Callable[[Any], int]
) -> Iterator[tuple[int, list[Any]]]:
    """The rarest members of each chosen set, as many as `_close` must look at; the smallest set first."""
    for n in sorted(chosen, key=lambda n: (len(sets[n]), n)):
        size = len(sets[n])
        rarest = sorted((often(shingle), shingle) for shingle in sets[n])
        yield n, [shingle for _, shingle in rarest[: size - math.ceil(threshold * size - 1e-9) + 1]]


def _frequency(chosen: list[int], sets: Mapping[int, Collection[Any]]) -> Callable[[Any], int]:
    """In how many of the sets a member is, or a little more.

    Any order that is the same for all sets will do for `_close`, so very many numbers are counted in a table in which
    several may share a place: 32 MB instead of a gigabyte for seven million.
    """
    total = sum(len(sets[n]) for n in chosen)
    if total < _COUNTED_EXACTLY:
        return Counter(shingle for n in chosen for shingle in sets[n]).__getitem__
    places = array("H", bytes(2 * _PLACES))
    for n in chosen:
        for shingle in sets[n]:
            place = shingle % _PLACES
            if places[place] < 0xFFFF:
                places[place] += 1
    return lambda shingle: places[shingle % _PLACES]


def _join(parent: list[int], one: int, other: int) -> None:
    first, second = sorted((_root(parent, one), _root(parent, other)))
    parent[second] = first


def _root(parent: list[int], n: int) -> int:
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n
