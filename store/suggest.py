"""Did you mean …? The names closest to a mistyped one, and the sentence that offers them.
The only place that compares names by similarity, for the store, the engine and the command line alike."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_CUTOFF = 0.5
"""Similarity (difflib's ratio, 0 to 1) below which a name is no guess."""


def close(wrong: str, known: Iterable[str], most: int = 3) -> list[str]:
    """At most `most` of the known names, the closest first, whatever their case. Empty when none is close."""
    by_fold = {name.casefold(): name for name in known}
    return [by_fold[hit] for hit in difflib.get_close_matches(wrong.casefold(), by_fold, most, _CUTOFF)]


def did_you_mean(names: Sequence[str]) -> str:
    """The question that offers these names; "" for none."""
    return f"Did you mean {' or '.join(names)}?" if names else ""


def hint(wrong: str, known: Iterable[str], otherwise: str = "", most: int = 3) -> str:
    """What to do about a mistyped name: the close ones, else `otherwise`."""
    return did_you_mean(close(wrong, known, most)) or otherwise
