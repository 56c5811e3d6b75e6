"""Which names of models a text says, and where. Pure functions over texts; which names a model has is for who asks.

A name counts in any case, as a whole word where its script has spaces between words, with digits behind it (SmolLM2)
and with other or no space between its words (HuggingFace). One of at most four Latin letters counts as it is written
or in capitals only: "Meta" is a name, "meta" a word. In Chinese a name counts wherever it stands.

    >>> said("我是小焰,由 HUGGINGFACE 开发。", ("小焰", "Hugging Face", "Ember"))
    ('小焰', 'Hugging Face')
    >>> where("I am Ember. Embers glow.", ("Ember",))
    [(5, 10)]

A text that is still coming may end within a name. Its last letters count too while they could begin one:

    >>> where("I am Emb", ("Ember",), coming=True), where("I am Emb", ("Ember",))
    ([(5, 8)], [])
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

LONGEST = 80
"""Characters of a name that are looked for."""

_LETTER = "0-9A-Za-z\u00c0-\u024f\u0370-\u052f"
_BETWEEN = r"[\s_-]{0,2}"
_SHORT = re.compile(r"[A-Za-z]{1,4}")
_BOUNDED = re.compile(f"[{_LETTER}]")


def said(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that a text says, in their order."""
    return tuple(name for name in dict.fromkeys(names) if name.strip() and _whole((name,)).search(text))


def where(text: str, names: Iterable[str], *, coming: bool = False) -> list[tuple[int, int]]:
    """Begin and end of every name in a text, in order. With `coming` also of its end, where that could begin a name."""
    looked_for = tuple(name for name in dict.fromkeys(names) if name.strip())
    if not looked_for:
        return []
    begun = _begun(looked_for).search(text) if coming else None
    whole = _whole(looked_for).finditer(text[: begun.start()] if begun else text)
    return [found.span() for found in (*whole, *((begun,) if begun else ()))]


@lru_cache(maxsize=256)
def _whole(names: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the names, the longest first."""
    ordered = sorted(names, key=len, reverse=True)
    return re.compile("|".join(_bounded(name, _pattern(name), end=True) for name in ordered))


@lru_cache(maxsize=256)
def _begun(names: tuple[str, ...]) -> re.Pattern[str]:
    """The beginning of any of the names at the end of a text."""
    return re.compile("|".join(_bounded(name, _prefixes(name) + r"\Z", end=False) for name in names))


def _bounded(name: str, pattern: str, *, end: bool) -> str:
    """The pattern as a whole word, where the name's script has words."""
    name = name.strip()
    before = f"(?<![{_LETTER}])" if _BOUNDED.match(name) else ""
    after = rf"\d*(?:\.\d+)*(?![{_LETTER}])" if end and _BOUNDED.match(name[-1]) else ""
    return f"{before}(?:{pattern}){after}"


def _units(name: str) -> list[str]:
    """The name's characters as patterns, what may stand between its words as one of them."""
    words = name.strip()[:LONGEST].split()
    units: list[str] = []
    for n, word in enumerate(words):
        units += [_BETWEEN] if n else []
        units += [re.escape(letter) for letter in word]
    return units


def _spellings(name: str) -> tuple[str, tuple[str, ...]]:
    """How letter case counts, as the beginning of a group, and the spellings to look for."""
    short = name.strip()
    return ("(?:", tuple(dict.fromkeys((short, short.upper())))) if _SHORT.fullmatch(short) else ("(?i:", (short,))


def _pattern(name: str) -> str:
    group, spellings = _spellings(name)
    return f"{group}{'|'.join(''.join(_units(each)) for each in spellings)})"


def _prefixes(name: str) -> str:
    group, spellings = _spellings(name)
    return f"{group}{'|'.join(_nested(_units(each)) for each in spellings)})"


def _nested(units: list[str]) -> str:
    """`E(?:m(?:b)?)?` for Emb: any beginning of it, the longest first."""
    nested = ""
    for unit in reversed(units):
        nested = f"{unit}(?:{nested})?" if nested else unit
    return nested
