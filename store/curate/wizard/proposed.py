"""What a maker of pairs hands on: drafts, and sentences on what it left out or decided.
Data only; who saves them is store/proposals.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from store.curate.duplicates import normal
from store.records import PairDraft

GENERAL = "general"
"""The form of rows that keep the identity from leaking."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """Pairs that were made and are not saved yet. Each has a tag for who made it, then one for its form."""

    drafts: list[PairDraft]
    notices: list[str] = field(default_factory=list)


def form_of(draft: PairDraft) -> str:
    """The form of a draft that a maker made: name, denial, correct …; empty for any other."""
    return draft.tags[1] if len(draft.tags) > 1 else ""


def forms(drafts: Iterable[PairDraft]) -> dict[str, int]:
    """How many drafts have each form, in the order in which they come."""
    return dict(Counter(form_of(draft) for draft in drafts))


def distinct(drafts: Iterable[PairDraft]) -> list[PairDraft]:
    """The drafts without those that ask what an earlier one asks, after the same turns (`duplicates.normal`)."""
    found: dict[tuple[str, ...], PairDraft] = {}
    for draft in drafts:
        found.setdefault((*(normal(turn.content) for turn in draft.history), normal(draft.question)), draft)
    return list(found.values())
