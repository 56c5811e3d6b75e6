"""Frozen rows of judged answers, made by hand: preferences and feedback."""

from __future__ import annotations

from store.canon import canonical, sha256
from store.records import SnapshotRow, Split
from tests.tiny import chat


def preference(
    ord: int, question: str, chosen: str, rejected: str, *, system: str = "", split: Split = "train"
) -> SnapshotRow:
    """A frozen preference."""
    messages = chat(question, chosen, system=system)
    digest = sha256(canonical([messages, rejected]))
    return SnapshotRow(ord, split, "preference", messages, digest, rejected=rejected)


def feedback(ord: int, question: str, answer: str, good: bool, *, split: Split = "train") -> SnapshotRow:
    """A frozen judged answer."""
    messages = chat(question, answer)
    return SnapshotRow(ord, split, "feedback", messages, sha256(canonical([messages, good])), good=good)
